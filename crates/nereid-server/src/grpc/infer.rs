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
    let (mut request, outputs) = decode::decode(request, &model.config, service.shared_memory())?;
    if let Some(windows) = &outputs.windows {
        request = windows.read(request, &model.config).await?;
    }
    let id = request.id.clone();
    let mut response = service.infer(&model, request).await?;
    if let Some(windows) = &outputs.windows {
        response = windows.write(response).await?;
    }
    encode::encode(response, id, &model, &outputs)
}
