//! An inference response, before any wire sees it.

use std::sync::Arc;

use bytes::Bytes;

use crate::config::StateTensor;
use crate::{DataType, Parameters, Shape, Timestamp};

/// What a model answered to one request.
#[derive(Debug, Clone, Default)]
pub struct InferResponse {
    /// Requested outputs in the backend's order.
    pub outputs: Vec<OutputTensor>,
    /// What the next request of the sequence gets, in the order of [`crate::ModelConfig::states`]. The scheduler takes
    /// them away.
    pub states: Vec<StateTensor>,
    /// Response parameters.
    pub parameters: Parameters,
    /// When what happened to the request.
    pub timing: Timing,
}

/// The moments of one request inside a scheduler, in the order in which they come; equal to each other where a phase
/// does not exist. Requests of one batch share all but the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// It was queued.
    pub queue_start: Timestamp,
    /// An instance took its batch.
    pub compute_start: Timestamp,
    /// The inputs stood ready for the device.
    pub inputs_ready: Timestamp,
    /// The device was done.
    pub compute_done: Timestamp,
    /// The responses of the batch were made.
    pub compute_end: Timestamp,
    /// It was answered from the response cache, at the last four of these moments.
    pub cache_hit: bool,
}

/// One output tensor; `data` as in [`crate::InputTensor`], or empty when it was written to the place on a GPU that the
/// request gave for it ([`crate::DeviceTensors::outputs`]).
#[derive(Debug, Clone)]
pub struct OutputTensor {
    pub name: Arc<str>,
    pub datatype: DataType,
    /// Full shape, with the batch dimension if the model batches.
    pub shape: Shape,
    pub data: Bytes,
}
