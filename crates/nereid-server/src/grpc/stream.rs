//! `ModelStreamInfer`: requests run as they come, responses leave in the order of the requests.
//!
//! An error travels in-band and the stream goes on, unless the client asks for gRPC statuses with the
//! metadata `triton_grpc_error: true`; then the first error ends the stream.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, future};
use nereid_core::{Error, Parameter};
use nereid_protocol::inference::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use tonic::{Request, Status, Streaming};

use super::decode::Forwarded;
use super::{encode, infer};
use crate::serve::Draining;
use crate::service::Service;
use crate::status;

/// Requests of one stream that may run at once; more wait in the connection.
const IN_FLIGHT: usize = 1024;
const GRPC_ERROR: &str = "triton_grpc_error";
const FINAL_RESPONSE: &str = "triton_final_response";

/// Responses of one stream.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

/// Serves one stream. Dropping the responses cancels what runs.
///
/// A stream without requests in flight ends when the server drains; others deliver what is outstanding first.
pub(super) fn serve(
    service: Arc<Service>,
    request: Request<Streaming<ModelInferRequest>>,
    forwarded: Forwarded,
    mut draining: Draining,
) -> Responses {
    let grpc_errors = request.metadata().get(GRPC_ERROR).is_some_and(|value| value == "true");
    let requests = request.into_inner().take_until(async move { draining.started().await });
    let responses =
        requests.map(move |request| respond(service.clone(), request, forwarded.clone())).buffered(IN_FLIGHT);
    if grpc_errors { Box::pin(end_at_error(responses)) } else { Box::pin(responses.map(in_band)) }
}

/// A response, or the id of the request that failed and why; outside, a broken stream.
type Outcome = Result<Result<ModelInferResponse, (String, Error)>, Status>;

async fn respond(
    service: Arc<Service>,
    request: Result<ModelInferRequest, Status>,
    forwarded: Forwarded,
) -> Outcome {
    let request = request?;
    let id = request.id.clone();
    let mut response = match infer::infer(&service, request, forwarded).await {
        Ok(response) => response,
        Err(error) => return Ok(Err((id, error))),
    };
    response.parameters.insert(FINAL_RESPONSE.to_owned(), encode::parameter(Parameter::Bool(true)));
    Ok(Ok(response))
}

fn in_band(outcome: Outcome) -> Result<ModelStreamInferResponse, Status> {
    Ok(match outcome? {
        Ok(response) => ModelStreamInferResponse { infer_response: Some(response), ..Default::default() },
        Err((id, error)) => ModelStreamInferResponse {
            error_message: error.message().to_owned(),
            infer_response: Some(ModelInferResponse { id, ..Default::default() }),
        },
    })
}

fn end_at_error(
    responses: impl Stream<Item = Outcome> + Send,
) -> impl Stream<Item = Result<ModelStreamInferResponse, Status>> + Send {
    let statuses = responses.map(|outcome| match outcome {
        Ok(Err((_, error))) => Err(status::grpc(&error)),
        outcome => in_band(outcome),
    });
    let ended = |ended: &mut bool, item: Result<_, Status>| {
        let item = (!*ended).then(|| {
            *ended = item.is_err();
            item
        });
        future::ready(item)
    };
    statuses.scan(false, ended)
}
