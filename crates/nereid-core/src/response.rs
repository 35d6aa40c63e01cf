//! An inference response, before any wire sees it.

use std::sync::Arc;

use bytes::Bytes;

use crate::{DataType, Parameters, Shape};

/// What a model answered to one request.
#[derive(Debug, Clone, Default)]
pub struct InferResponse {
    /// Requested outputs in the backend's order.
    pub outputs: Vec<OutputTensor>,
    /// Response parameters.
    pub parameters: Parameters,
}

/// One output tensor; `data` as in [`crate::InputTensor`].
#[derive(Debug, Clone)]
pub struct OutputTensor {
    pub name: Arc<str>,
    pub datatype: DataType,
    /// Full shape, with the batch dimension if the model batches.
    pub shape: Shape,
    pub data: Bytes,
}
