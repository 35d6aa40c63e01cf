//! The two routes: what they share up to the responses, and what each makes of these.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use nereid_core::{Error, InferRequest, Result};
use nereid_protocol::rest;
use nereid_repository::ModelVersion;

use super::decode::decode;
use super::encode::{Form, Sender, encode, error_event};
use super::responses::{Responses, exactly_one};
use crate::http::decode::tensor_bytes;
use crate::http::encoding::Encoding;
use crate::http::path::ModelPath;
use crate::http::reply::{self, Refused};
use crate::http::{Http, body};
use crate::in_flight::{Held, LARGE};
use crate::off_the_loop::{LONG_BYTES, off_the_loop};
use crate::status;
use crate::trace::{Event, Trace, TraceContext};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");

/// One response, as JSON. All errors are labelled so as well.
pub(in crate::http) async fn generate(
    State(http): State<Http>,
    path: ModelPath,
    request: Request,
) -> Result<Response, Refused> {
    let responses = start(&http, &path, request, Form::Object).await.map_err(Refused::Json)?;
    exactly_one(responses).await.map(reply::json).map_err(Refused::Json)
}

/// Any number of responses, as server-sent events. The status is that of the first one; a request that is refused gets
/// no event.
pub(in crate::http) async fn generate_stream(
    State(http): State<Http>,
    path: ModelPath,
    request: Request,
) -> Result<Response, Refused> {
    let mut responses = start(&http, &path, request, Form::Event).await.map_err(Refused::Json)?;
    let first = responses.next().await;
    let status = match &first {
        Some(Err(error)) if !error.was_accepted() => return Err(Refused::Json(error.clone())),
        Some(Err(error)) => status::http(error),
        Some(Ok(_)) | None => StatusCode::OK,
    };
    let events = stream::iter(first).chain(responses);
    let events = events.map(|event| Ok::<_, Infallible>(event.unwrap_or_else(|e| error_event(&e))));
    let mut response = Response::new(Body::from_stream(events));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, EVENT_STREAM);
    Ok(response)
}

/// Sends the request to its model.
async fn start(http: &Http, path: &ModelPath, request: Request, form: Form) -> Result<Responses> {
    let arrived = http.service.tracer().arrived(|| TraceContext::of(request.headers()));
    let (parts, body) = request.into_parts();
    let access = http.service.access().of(&parts.extensions);
    let model = http.service.model(&path.name, path.version()?)?;
    let mut trace = http.service.tracer().sample(&path.name, arrived, &[Event::HttpRecvStart]);
    if Encoding::of_request(&parts.headers) != Some(Encoding::Identity) {
        return Err(Error::invalid_arg("Unsupported content-encoding, only 'identity' is supported."));
    }
    let limit = http.limits.max_input_bytes;
    let mut held = http.service.budget().hold();
    let body = body::read_or_count(body, limit, &mut held).await?;
    trace.mark(Event::HttpRecvEnd);
    let body = body.map_err(|length| crate::http::decode::error(rest::json_too_long(length, limit)))?;
    access.received(|| body.len());
    let (request, mut held) = decode_body(body, &model, limit, held).await?;
    access.request(&model, &request);
    let service = http.service.clone();
    let response = async move {
        let sender = Sender { model, id: request.id.clone(), form };
        let response = service.infer(&sender.model, request, &mut trace).await;
        if let Ok(response) = &response {
            access.answered(response);
        }
        let response = encode(response, &sender, &mut held).await.map(|response| {
            let bytes = response.len();
            held.until_written(response, bytes)
        });
        until_sent(response, trace)
    };
    Ok(Box::pin(stream::once(response)))
}

/// A long body is worked on off the event loop.
async fn decode_body(
    body: Bytes,
    model: &Arc<ModelVersion>,
    limit: usize,
    mut held: Held,
) -> Result<(InferRequest, Held)> {
    if body.len() > LARGE {
        held.grow(body.len())?; // about as long as what it becomes
    }
    let received = body.len();
    let (request, mut held) = if body.len() <= LONG_BYTES {
        (decode(&body, &model.config, limit)?, held)
    } else {
        let config = model.config.clone();
        off_the_loop(move || Ok((decode(&body, &config, limit)?, held))).await?
    };
    held.settle(tensor_bytes(&request).max(received))?;
    Ok((request, held))
}

/// Ties `trace` to the response: it ends when that has been written to the connection.
fn until_sent(response: Result<Bytes>, mut trace: Trace) -> Result<Bytes> {
    if !trace.is_on() {
        return response;
    }
    trace.mark(Event::InferResponseComplete);
    trace.mark(Event::HttpSendStart);
    match response {
        Ok(response) => Ok(trace.until_dropped(response, Event::HttpSendEnd)),
        Err(error) => {
            drop(trace.ending(Event::HttpSendEnd));
            Err(error)
        }
    }
}
