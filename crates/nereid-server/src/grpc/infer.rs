//! `ModelInfer`: look up, decode, infer, encode.

use std::mem;

use nereid_core::Result;
use nereid_protocol::inference::{ModelInferRequest, ModelInferResponse};

use super::decode::{self, Forwarded};
use super::encode;
use crate::service::Service;
use crate::trace::{Event, Trace};
use crate::version;

/// What has happened to a request that is there: a message is handed over whole, so reading it takes no time here.
const RECEIVED: [Event; 2] = [Event::GrpcWaitreadStart, Event::GrpcWaitreadEnd];

/// Answers one request, to which the `forwarded` metadata belong.
///
/// # Errors
/// Whatever the model's client is to see.
pub(super) async fn infer(
    service: &Service,
    request: ModelInferRequest,
    forwarded: Forwarded,
) -> Result<ModelInferResponse> {
    let received = service.tracer().now();
    let model = service.model(&request.model_name, version::parse(&request.model_version)?)?;
    let (mut request, outputs) = decode::decode(request, &model.config, service.shared_memory())?;
    if let Some(forwarded) = forwarded {
        request.parameters.extend((*forwarded).clone()?);
    }
    if let Some(windows) = &outputs.windows {
        request = windows.read(request, &model.config).await?;
    }
    let mut trace = service.tracer().sample(&model.name, received, &RECEIVED);
    let id = request.id.clone();
    let mut answer = service.infer(&model, request, &mut trace).await;
    if let Some(windows) = &outputs.windows
        && let Ok(response) = answer
    {
        answer = windows.write(response).await;
    }
    let message = answer.and_then(|response| encode::encode(response, id, &model, &outputs));
    until_sent(message, trace)
}

/// Ties `trace` to the last tensor of `message`: it is dropped when the message has been encoded for the connection.
fn until_sent(message: Result<ModelInferResponse>, mut trace: Trace) -> Result<ModelInferResponse> {
    if !trace.is_on() {
        return message;
    }
    let mut message = message;
    if message.is_ok() {
        trace.mark(Event::InferResponseComplete);
    }
    trace.mark(Event::GrpcSendStart);
    match message.as_mut().ok().and_then(|message| message.raw_output_contents.last_mut()) {
        Some(last) => *last = trace.until_dropped(mem::take(last), Event::GrpcSendEnd),
        None => drop(trace.ending(Event::GrpcSendEnd)),
    }
    message
}
