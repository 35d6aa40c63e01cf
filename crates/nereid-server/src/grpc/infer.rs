//! One inference: look up, decode, infer, encode. `ModelInfer` is no more than that.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use nereid_core::{InferRequest, InferResponse, Result};
use nereid_protocol::inference::{ModelInferRequest, ModelInferResponse};
use nereid_repository::ModelVersion;
use prost::Message;

use super::decode::{self, Forwarded, Outputs};
use super::encode;
use crate::access::Access;
use crate::in_flight::Held;
use crate::service::{Pending, Service};
use crate::trace::{Arrived, Event, Trace};
use crate::version;

/// What has happened to a request that is there: a message is handed over whole, so reading it takes no time here.
const RECEIVED: [Event; 2] = [Event::GrpcWaitreadStart, Event::GrpcWaitreadEnd];

/// Answers one request that has `arrived`, to which the `forwarded` metadata belong, and tells `access` what happens.
///
/// # Errors
/// Whatever the model's client is to see.
pub(super) async fn infer(
    service: &Service,
    request: ModelInferRequest,
    forwarded: Forwarded,
    arrived: Option<Arrived>,
    access: Access,
) -> Result<ModelInferResponse> {
    tell(&access, &request, || request.encoded_len());
    let mut decoded = decode(service, request, &forwarded, arrived)?;
    if decoded.has_more_to_read() {
        decoded = decoded.read(service).await?;
    }
    let message = decoded.start(service, access.clone())?.await?;
    access.sent(|| message.encoded_len());
    Ok(message)
}

/// Tells `access` what came, which has so many bytes.
pub(super) fn tell(access: &Access, request: &ModelInferRequest, bytes: impl FnOnce() -> usize) {
    access.id(&request.id);
    access.model(&request.model_name);
    access.received(bytes);
}

/// A request that is understood.
pub(super) struct Decoded {
    request: InferRequest,
    model: Arc<ModelVersion>,
    arrived: Option<Arrived>,
    named: Named,
    outputs: Outputs,
    held: Held,
}

/// A request that waits or runs, until its answer is a message. Dropping it cancels the request.
pub(super) struct Started {
    pending: Pending<Arc<ModelVersion>>,
    /// Writes outputs to shared memory.
    writing: Option<Writing>,
    named: Named,
    input_bytes: usize,
    outputs: Outputs,
    trace: Trace,
    access: Access,
    held: Held,
}

type Writing = Pin<Box<dyn Future<Output = Result<InferResponse>> + Send>>;

/// What the client called the request and its model.
struct Named {
    id: String,
    model_name: String,
    /// Maybe empty.
    model_version: String,
}

/// Decodes `request`, which has `arrived` and to which the `forwarded` metadata belong, for its model.
///
/// # Errors
/// There is no such model, or the request makes no sense.
pub(super) fn decode(
    service: &Service,
    mut request: ModelInferRequest,
    forwarded: &Forwarded,
    arrived: Option<Arrived>,
) -> Result<Decoded> {
    let (bytes, mut held) = (request.encoded_len(), service.budget().hold());
    held.grow(bytes)?;
    let model_name = mem::take(&mut request.model_name);
    let model_version = mem::take(&mut request.model_version);
    let model = service.model(&model_name, version::parse(&model_version)?)?;
    let (mut request, outputs) = decode::decode(request, &model.config, service.shared_memory())?;
    held.settle(request.inputs.iter().map(|input| input.data.len()).sum::<usize>().max(bytes))?;
    if let Some(forwarded) = forwarded {
        request.parameters.extend((**forwarded).clone()?);
    }
    let named = Named { id: request.id.clone(), model_name, model_version };
    Ok(Decoded { request, model, arrived, named, outputs, held })
}

impl Decoded {
    /// Whether tensors are in shared memory, so that [`Self::read`] must come before [`Self::start`].
    pub(super) fn has_more_to_read(&self) -> bool {
        self.outputs.windows.is_some()
    }

    /// Reads the tensors that are in shared memory.
    ///
    /// # Errors
    /// They are not there, or do not fit the model.
    pub(super) async fn read(self, service: &Service) -> Result<Self> {
        let Self { mut request, outputs, mut held, .. } = self;
        if let Some(windows) = &outputs.windows {
            let device = service.device_memory(&self.model);
            request = windows.read(request, &self.model.config, device, &mut held).await?;
        }
        Ok(Self { request, outputs, held, ..self })
    }

    /// Puts the request into the queue of its model, at once, and tells `access` what comes of it.
    ///
    /// # Errors
    /// The request does not fit the model, or the queue refuses it.
    pub(super) fn start(self, service: &Service, access: Access) -> Result<Started> {
        let Self { request, model, arrived, named, outputs, held } = self;
        let mut trace = service.tracer().sample(&model.id.name, arrived, &RECEIVED);
        access.request(&model, &request);
        let input_bytes = request.inputs.iter().map(|input| input.data.len()).sum();
        match service.start(model, request, &mut trace) {
            Ok(pending) => {
                Ok(Started { pending, writing: None, named, input_bytes, outputs, trace, access, held })
            }
            Err(error) => {
                drop(until_sent(Err(error.clone()), trace));
                Err(error)
            }
        }
    }
}

impl Started {
    /// Size of the tensors that were sent.
    pub(super) fn input_bytes(&self) -> usize {
        self.input_bytes
    }

    /// A response without outputs that names the request, for a stream's error.
    pub(super) fn named(&self) -> ModelInferResponse {
        let Named { id, model_name, model_version } = &self.named;
        ModelInferResponse {
            id: id.clone(),
            model_name: model_name.clone(),
            model_version: model_version.clone(),
            ..Default::default()
        }
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<InferResponse>> {
        if self.writing.is_none() {
            let answer = ready!(Pin::new(&mut self.pending).poll(context));
            self.trace.ended(&answer);
            if let Ok(response) = &answer {
                self.access.answered(response);
            }
            match (self.outputs.windows.clone(), answer) {
                (Some(windows), Ok(response)) => {
                    self.writing = Some(Box::pin(async move { windows.write(response).await }));
                }
                (_, answer) => return Poll::Ready(answer),
            }
        }
        match &mut self.writing {
            Some(writing) => writing.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl Future for Started {
    type Output = Result<ModelInferResponse>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.poll_answer(context));
        let encoded =
            answer.and_then(|response| encode::encode(response, self.pending.model(), &self.outputs));
        let message =
            encoded.map(|message| ModelInferResponse { id: mem::take(&mut self.named.id), ..message });
        let message = message.map(|message| until_encoded(message, self.held.take()));
        Poll::Ready(until_sent(message, mem::take(&mut self.trace)))
    }
}

/// Lets the tensors of `message` be held until it has been encoded for the connection.
fn until_encoded(mut message: ModelInferResponse, held: Held) -> ModelInferResponse {
    let bytes = message.raw_output_contents.iter().map(Bytes::len).sum();
    if let Some(last) = message.raw_output_contents.last_mut() {
        *last = held.until_written(mem::take(last), bytes);
    }
    message
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
