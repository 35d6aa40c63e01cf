//! TensorRT as a backend: plans (model.plan) on GPUs.
//!
//! Before a batch runs: `autocomplete` reads a config out of an engine, `check` holds one against it, `profiles` chooses
//! among its shapes, and `plan` keeps what an execution needs. No batching, no queue and no request decoding happen here,
//! and TensorRT itself is called by `nereid-tensorrt` alone.
#![allow(dead_code, reason = "what runs a batch is still to come")]

mod autocomplete;
mod backend;
mod check;
mod datatype;
mod engine_file;
mod engine_info;
mod layout;
mod load_plan;
mod plan;
mod platform;
mod profiles;
mod settings;
mod shapes;
#[cfg(test)]
mod testing;

pub use backend::{Options, TensorRt};
