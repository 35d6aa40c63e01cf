//! TensorRT as a backend: plans (model.plan) on GPUs.
//!
//! Before a batch runs: `autocomplete` reads a config out of an engine, `check` holds one against it, `profiles` chooses
//! among its shapes, and `plan` keeps what an execution needs. `instance` runs a batch: `gather` brings inputs to the GPU,
//! `profiled` or `graphs` execute, `scatter` brings outputs back, both by the copies of
//! `nereid_cuda::staging`. No batching, no queue and no request decoding happen here,
//! and TensorRT itself is called by `nereid-tensorrt` alone.
#![allow(unsafe_code, reason = "streams read and write memory by its address")]

mod autocomplete;
mod backend;
mod check;
mod datatype;
mod engine_file;
mod engine_info;
mod engines;
mod failure;
mod gather;
mod graph_specs;
mod graphs;
mod instance;
mod layout;
mod load_plan;
mod model;
mod output;
mod output_allocator;
mod plan;
mod platform;
mod profiled;
mod profiles;
mod scatter;
mod settings;
mod shape_tensor;
mod shapes;
mod streams;
#[cfg(test)]
mod testing;
mod unwinding;

pub use backend::{Options, TensorRt};
