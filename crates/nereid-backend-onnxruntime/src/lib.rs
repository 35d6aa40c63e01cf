//! ONNX Runtime as a backend: CPU, and CUDA or TensorRT where the library offers them.
//!
//! The library is loaded at run time, on the first model, so that a server without ONNX models needs
//! none. Sessions, values and runs go through the C API that the `ort` crate loads: the safe API of
//! `ort` refuses strings with NUL, drops ONNX Runtime's own error codes, and allocates on every run.
//! No batching, no queue and no request decoding happen here.
#![allow(unsafe_code, reason = "this crate is the seam to a C library")]

mod accelerators;
mod autocomplete;
mod backend;
mod bound;
mod check;
mod datatype;
mod error;
mod gpu;
mod graph;
mod inputs;
mod instance;
mod library;
mod logging;
mod malloc;
mod missing;
mod model;
mod model_file;
mod outputs;
mod placement;
mod plan;
mod raw;
mod release;
mod runtime;
mod session;
mod settings;
mod strings;
mod telemetry;
mod tensorrt;
mod terminate;
mod threads;

pub use backend::{OnnxRuntime, Options};
pub use gpu::{Gpus, HostGpus};
