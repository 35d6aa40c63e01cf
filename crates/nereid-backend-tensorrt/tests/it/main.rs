//! Engines of the stand-ins of TensorRT 10 and 11, run on a GPU in host memory.
#![allow(unsafe_code, reason = "memory of the GPU is looked at by its address")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod concurrency;
mod dependent;
mod device;
mod engines;
mod failures;
mod fixture;
mod graphs;
mod layouts;
mod load;
mod profiles;
mod ragged;
mod rows;
mod sequences;
mod shape_tensors;
