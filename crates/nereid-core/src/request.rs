//! An inference request as decoded from any wire, before it is checked against a model.

use bytes::Bytes;

use crate::{DataType, DeviceTensors, Shape};

/// Everything a client asks of one model. Inputs are slices of the received message, not copies.
#[derive(Debug, Clone, Default)]
pub struct InferRequest {
    /// Client's id, echoed in the response when not empty.
    pub id: String,
    /// Input tensors in the client's order.
    pub inputs: Vec<InputTensor>,
    /// Names of the outputs asked for; empty means all.
    pub outputs: Vec<String>,
    /// 0 means the model's default level; 1 is the highest.
    pub priority: u64,
    /// Client's queue time-out in microseconds; 0 means none.
    pub timeout_us: u64,
    /// Sequence the request belongs to.
    pub sequence: Sequence,
    /// Custom parameters.
    pub parameters: Parameters,
    /// Tensors that lie in the memory of a GPU; `None` when there are none, as a rule.
    pub device: Option<Box<DeviceTensors>>,
}

/// One input tensor. `data` is dense, row-major, little-endian; BYTES elements carry a `u32` length each.
#[derive(Debug, Clone)]
pub struct InputTensor {
    pub name: String,
    pub datatype: DataType,
    /// Full shape, with the batch dimension if the model batches.
    pub shape: Shape,
    pub data: Bytes,
}

/// Sequence flags of a request; the default is "no sequence".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequence {
    pub id: CorrelationId,
    pub start: bool,
    pub end: bool,
}

/// Id of a sequence: a number or a string of at most 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CorrelationId {
    Number(u64),
    Text(String),
}

impl Default for CorrelationId {
    fn default() -> Self {
        Self::Number(0)
    }
}

/// A request or response parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
}

/// Named parameters in the order they were given.
pub type Parameters = Vec<(String, Parameter)>;
