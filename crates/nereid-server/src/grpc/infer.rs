//! `ModelInfer`: look up, decode, infer, encode.

use nereid_core::Result;
use nereid_protocol::inference::{ModelInferRequest, ModelInferResponse};

use super::{decode, encode};
use crate::service::Service;
use crate::version;

/// Answers one request.
///
/// # Errors
/// Whatever the model's client is to see.
pub(super) async fn infer(service: &Service, request: ModelInferRequest) -> Result<ModelInferResponse> {
    let model = service.model(&request.model_name, version::parse(&request.model_version)?)?;
    let (request, outputs) = decode::decode(request, &model.config)?;
    let id = request.id.clone();
    let response = service.infer(&model, request).await?;
    encode::encode(response, id, &model, &outputs)
}
