//! `ModelStreamInfer`: requests run as they come, answers leave in the order of the requests.
//!
//! An error travels in-band and the stream goes on. If the client asks for gRPC statuses with the metadata
//! `triton_grpc_error: true`, a request that fails after it was queued ends the stream; one that is refused
//! does not, as in Triton (`ModelStreamInferHandler::Process` and `StreamInferResponseComplete`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, Stream, StreamExt};
use nereid_core::{Error, Parameter};
use nereid_protocol::inference::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use prost::Message;
use tonic::{Code, Request, Status, Streaming};

use super::answering::{Answer, Answering};
use super::decode::Forwarded;
use super::infer::Decoded;
use super::refusals::Refusals;
use super::{encode, infer};
use crate::access::{Access, Caller};
use crate::serve::Draining;
use crate::service::Service;
use crate::status;
use crate::trace::TraceContext;

/// Requests of one stream that may be in flight; more wait in the connection.
const IN_FLIGHT: usize = 1024;
/// A stream starts no further request while it holds this much: the requests in flight, and the tensors of their
/// answers as if each were as large as the largest so far. One request may always be in flight.
const HELD_BYTES: usize = 64 << 20;
const GRPC_ERROR: &str = "triton_grpc_error";
const FINAL_RESPONSE: &str = "triton_final_response";
const DRAINING: &str = "GRPC server is shutting down and has stopped accepting new requests.";

/// Responses of one stream.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

/// Ends when the server drains.
type DrainingStarted = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The id of a request, its size on the wire, the request once it is complete, and its line.
type Reading = Pin<Box<dyn Future<Output = (String, usize, nereid_core::Result<Decoded>, Access)> + Send>>;

/// Serves one stream. Dropping the responses cancels what waits or runs.
///
/// When the server drains, what is in flight is answered, what still comes is refused in-band, and the stream
/// ends as soon as nothing is left: with a status, so that the client does not go on sending.
pub(super) fn serve(
    service: Arc<Service>,
    request: Request<Streaming<ModelInferRequest>>,
    forwarded: Forwarded,
    mut draining: Draining,
) -> Responses {
    let grpc_errors = request.metadata().get(GRPC_ERROR).is_some_and(|value| value == "true");
    let draining = Box::pin(async move { draining.started().await });
    let context = TraceContext::of(request.metadata().as_ref());
    let caller = request.extensions().get::<Caller>().cloned();
    let refusals = request.extensions().get::<Refusals>().cloned().unwrap_or_default();
    let session = Session::new(service, request.into_inner(), draining);
    let caller = caller.unwrap_or(session.caller);
    Box::pin(Session { forwarded, context, grpc_errors, caller, refusals, ..session })
}

/// One stream: the client's requests in, answers out.
struct Session<R> {
    service: Arc<Service>,
    /// `None` once the client is done sending, or is no longer listened to.
    requests: Option<R>,
    /// The next request, while its tensors are read from shared memory; later ones wait for it.
    reading: Option<Reading>,
    in_flight: FuturesOrdered<Answering>,
    /// Size of the requests in flight.
    held_bytes: usize,
    /// Size of the largest answer so far.
    largest_answer: usize,
    /// Metadata of the stream, which belong to each of its requests.
    forwarded: Forwarded,
    /// The client's trace, to which each of its requests belongs.
    context: Option<Arc<TraceContext>>,
    grpc_errors: bool,
    /// Whose requests these are, for the access log.
    caller: Caller,
    /// Of requests that were refused before they were here.
    refusals: Refusals,
    /// Ends when the server drains; `None` from then on.
    draining: Option<DrainingStarted>,
}

impl<R> Session<R>
where
    R: Stream<Item = Result<ModelInferRequest, Status>> + Unpin,
{
    fn new(service: Arc<Service>, requests: R, draining: DrainingStarted) -> Self {
        Self {
            service,
            requests: Some(requests),
            reading: None,
            in_flight: FuturesOrdered::new(),
            held_bytes: 0,
            largest_answer: 0,
            forwarded: None,
            context: None,
            grpc_errors: false,
            caller: Caller::unknown("ModelStreamInfer"),
            refusals: Refusals::default(),
            draining: Some(draining),
        }
    }

    fn has_room(&self) -> bool {
        let count = self.in_flight.len();
        let answers = count.saturating_mul(self.largest_answer);
        count == 0 || (count < IN_FLIGHT && self.held_bytes.saturating_add(answers) < HELD_BYTES)
    }

    /// Starts the requests that are there, in their order, as far as there is room.
    fn read(&mut self, context: &mut Context<'_>) {
        if let Some(draining) = &mut self.draining
            && draining.poll_unpin(context).is_ready()
        {
            self.draining = None;
        }
        while self.has_room() {
            let answering = match self.poll_request(context) {
                Poll::Ready(Some(answering)) => answering,
                Poll::Ready(None) | Poll::Pending => return,
            };
            self.held_bytes += answering.held_bytes();
            self.in_flight.push_back(answering);
        }
    }

    /// The next request, started or known to fail.
    fn poll_request(&mut self, context: &mut Context<'_>) -> Poll<Option<Answering>> {
        if let Some(reading) = &mut self.reading {
            let (id, message_bytes, decoded, access) = ready!(reading.poll_unpin(context));
            self.reading = None;
            return Poll::Ready(Some(Answering::start(&self.service, id, message_bytes, decoded, access)));
        }
        let Some(requests) = &mut self.requests else { return Poll::Ready(None) };
        let request = match ready!(requests.poll_next_unpin(context)) {
            Some(Ok(request)) => request,
            broken_or_over => {
                self.requests = None;
                return Poll::Ready(broken_or_over.and_then(Result::err).map(Answering::broken));
            }
        };
        let (id, message_bytes) = (request.id.clone(), request.encoded_len());
        let access = self.service.access().begin(&self.caller);
        infer::tell(&access, &request, || message_bytes);
        if let Some(refusal) = self.refusals.of(&request) {
            return Poll::Ready(Some(Answering::refuse(id, refusal, access)));
        }
        if self.draining.is_none() {
            return Poll::Ready(Some(Answering::refuse(id, Error::unavailable(DRAINING), access)));
        }
        let arrived = self.service.tracer().arrived(|| self.context.clone());
        match infer::decode(&self.service, request, &self.forwarded, arrived) {
            Ok(decoded) if decoded.has_more_to_read() => {
                let service = self.service.clone();
                let reading = async move { (id, message_bytes, decoded.read(&service).await, access) };
                self.reading = Some(Box::pin(reading));
                self.poll_request(context)
            }
            decoded => Poll::Ready(Some(Answering::start(&self.service, id, message_bytes, decoded, access))),
        }
    }

    /// The message for an answer, which is then over for `access`.
    fn write(&mut self, answer: Answer, access: &Access) -> Result<ModelStreamInferResponse, Status> {
        match &answer {
            Answer::Done(_) => access.grpc(Code::Ok, ""),
            Answer::Failed { error, .. } | Answer::Refused { error, .. } => {
                access.grpc(status::grpc_code(error), error.message());
            }
            Answer::Broken(_) => {} // no request
        }
        let message = self.message(answer)?;
        access.sent(|| message.encoded_len());
        Ok(message)
    }

    fn message(&mut self, answer: Answer) -> Result<ModelStreamInferResponse, Status> {
        match answer {
            Answer::Done(mut response) => {
                let bytes = response.raw_output_contents.iter().map(|contents| contents.len()).sum();
                self.largest_answer = self.largest_answer.max(bytes);
                set_final(&mut response);
                Ok(ModelStreamInferResponse { infer_response: Some(response), ..Default::default() })
            }
            Answer::Failed { error, .. } if self.grpc_errors => Err(self.end(status::grpc(&error))),
            Answer::Failed { mut response, error } => {
                set_final(&mut response);
                Ok(in_band(response, &error))
            }
            Answer::Refused { id, error } => {
                Ok(in_band(ModelInferResponse { id, ..Default::default() }, &error))
            }
            Answer::Broken(status) => Err(self.end(status)),
        }
    }

    /// Listens no longer, and cancels what is in flight.
    fn end(&mut self, status: Status) -> Status {
        (self.requests, self.reading) = (None, None);
        (self.in_flight, self.held_bytes) = (FuturesOrdered::new(), 0);
        status
    }
}

impl<R> Stream for Session<R>
where
    R: Stream<Item = Result<ModelInferRequest, Status>> + Unpin,
{
    type Item = Result<ModelStreamInferResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.read(context);
        match this.in_flight.poll_next_unpin(context) {
            Poll::Ready(Some((answer, held_bytes, access))) => {
                this.held_bytes -= held_bytes;
                Poll::Ready(Some(this.write(answer, &access)))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) if this.reading.is_some() => Poll::Pending,
            Poll::Ready(None) if this.requests.is_none() => Poll::Ready(None),
            Poll::Ready(None) if this.draining.is_none() => {
                Poll::Ready(Some(Err(this.end(Status::unavailable(DRAINING)))))
            }
            Poll::Ready(None) => Poll::Pending,
        }
    }
}

fn set_final(response: &mut ModelInferResponse) {
    response.parameters.insert(FINAL_RESPONSE.to_owned(), encode::parameter(Parameter::Bool(true)));
}

fn in_band(response: ModelInferResponse, error: &Error) -> ModelStreamInferResponse {
    ModelStreamInferResponse { error_message: error.message().to_owned(), infer_response: Some(response) }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
