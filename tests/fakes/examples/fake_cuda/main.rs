//! Stands in for the CUDA driver (`libcuda.so.1`) in host memory, with the driver's documented results.
//!
//! Device memory is memory of the host, which another process can open by its handle; what is put into a stream runs at once
//! or is recorded. Where the driver would corrupt memory, this refuses. Of the driver there is what this workspace calls.
//!
//! | variable | what it changes |
//! |---|---|
//! | `FAKE_CUDA_DEVICES` | GPUs of the machine: 1 |
//! | `FAKE_CUDA_MEMORY` | bytes of each: 1 GiB |
//! | `FAKE_CUDA_USED` | bytes of each that others use: 0 |
//! | `FAKE_CUDA_CAPABILITY` | compute capabilities, the last for all others: `9.0` |
//! | `FAKE_CUDA_MIG` | `1`: each is a part of a GPU |
//! | `FAKE_CUDA_INIT_ERROR` | the result of `cuInit` |
//! | `FAKE_CUDA_COPIES` | a file that gets a line for every copy: its direction and its bytes |

#![allow(unsafe_code, reason = "a C library")]
#![allow(non_snake_case, reason = "the names are CUDA's")]

mod code;
mod context;
mod copies;
mod devices;
mod graphs;
mod ipc;
mod mapping;
mod memory;
mod settings;
mod state;
mod streams;
