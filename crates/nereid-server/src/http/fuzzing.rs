//! For the fuzz targets: an inference body to a request that fits its model, without a server around it.
//! Not part of the interface.

use bytes::Bytes;
use nereid_core::{ModelConfig, Result, ValidRequest};

use super::decode;
use crate::shared_memory::SharedMemory;

/// What the route does between reading a body and queueing its request; a `json_length` of 0 is a raw body.
///
/// # Errors
/// Those of the route.
pub fn decode(
    body: Bytes,
    json_length: Option<usize>,
    config: &ModelConfig,
    max_input_bytes: usize,
) -> Result<ValidRequest> {
    let (request, _) = match json_length {
        Some(0) => decode::decode_raw(body, config)?,
        length => decode::decode(&body, length, config, max_input_bytes, &SharedMemory::new(false))?,
    };
    ValidRequest::new(request, config)
}
