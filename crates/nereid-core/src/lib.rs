//! The vocabulary that every other crate speaks: tensors, inference requests and responses, model
//! config, errors, and the contract between a scheduler and a backend.
//!
//! No I/O, no async runtime, no wire types, no global mutable state live here.

pub mod backend;
pub mod batch;
pub mod cache;
pub mod config;
mod continuation;
mod datatype;
mod device;
mod error;
mod injection;
mod placed;
mod request;
mod responder;
mod response;
pub mod shape;
pub mod string_tensor;
mod timestamp;
mod trace;
mod valid_request;
mod validate;

#[cfg(feature = "testing")]
pub mod testing;

pub use config::ModelConfig;
pub use continuation::{Continuation, Continuations, Continue};
pub use datatype::DataType;
pub use device::{DeviceSlice, DeviceTensors};
pub use error::{Error, ErrorCode, Result};
pub use request::{CorrelationId, InferRequest, InputTensor, Parameter, Parameters, Sequence};
pub use responder::{Respond, Responder};
pub use response::{InferResponse, OutputTensor, Timing};
pub use shape::Shape;
pub use timestamp::{Timestamp, unix_ms};
pub use trace::InferTrace;
pub use valid_request::{ValidInput, ValidRequest};
pub use validate::{check_before_data, duplicate_input, unknown_datatype};
