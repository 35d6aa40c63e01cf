//! For the fuzz targets: an inference message to a request that fits its model, without a server around it.
//! Not part of the interface.

use nereid_core::{ModelConfig, Result, ValidRequest};
use nereid_protocol::inference::ModelInferRequest;

use super::decode;
use crate::shared_memory::SharedMemory;

/// What the rpc does between receiving a message and queueing its request.
///
/// # Errors
/// Those of the rpc.
pub fn decode(message: ModelInferRequest, config: &ModelConfig) -> Result<ValidRequest> {
    let (request, _) = decode::decode(message, config, &SharedMemory::new(false))?;
    ValidRequest::new(request, config)
}
