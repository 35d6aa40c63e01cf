//! The backend on a real ONNX Runtime, with models written by the tests themselves.
#![allow(clippy::unwrap_used, reason = "in tests, also in what is no test itself")]

mod autocomplete;
mod bound;
mod compared;
mod concurrency;
mod datatypes;
mod execute;
mod fixture;
mod load;
mod onnx;
mod process;
mod ragged;
mod strings;
mod terminate;
