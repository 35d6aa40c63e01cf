//! `POST …/infer`: look up, read, decode, infer, encode.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, header};
use nereid_core::{Error, InferRequest, OutputTensor, Result};
use nereid_protocol::rest;
use nereid_repository::ModelVersion;

use super::decode::{self, Outputs};
use super::encode::{self, HEADER_LENGTH};
use super::encoding::Encoding;
use super::path::ModelPath;
use super::reply::{self, Refused};
use super::{Http, body, traced};
use crate::in_flight::{Held, LARGE};
use crate::off_the_loop::{LONG_BYTES, off_the_loop};
use crate::service::Service;
use crate::trace::{Event, Trace, TraceContext};

/// Longest body, as Triton counts it.
const MAX_BODY_BYTES: usize = i32::MAX as usize;

pub(super) async fn infer(State(http): State<Http>, path: ModelPath, request: Request) -> Response {
    let mut trace = Trace::default();
    let answer = answer(http, path, request, &mut trace).await;
    traced::until_sent(answer.into_response(), trace)
}

async fn answer(
    http: Http,
    path: ModelPath,
    request: Request,
    trace: &mut Trace,
) -> Result<Response, Refused> {
    let arrived = http.service.tracer().arrived(|| TraceContext::of(request.headers()));
    let (parts, body) = request.into_parts();
    let access = http.service.access().of(&parts.extensions);
    let model = path.version().and_then(|v| http.service.model(&path.name, v)).map_err(Refused::Text)?;
    *trace = http.service.tracer().sample(&path.name, arrived, &[Event::HttpRecvStart]);
    let Some(encoding) = Encoding::of_request(&parts.headers) else { return Ok(reply::unknown_encoding()) };
    check_content_length(&parts.headers).map_err(Refused::Text)?;
    let limit = http.limits.max_input_bytes;
    let most = if encoding == Encoding::Identity { MAX_BODY_BYTES } else { limit };
    let mut held = http.service.budget().hold();
    let body = body::read(body, most, &mut held).await.map_err(Refused::Text)?;
    trace.mark(Event::HttpRecvEnd);
    access.received(|| body.len());
    let (body, held) = decompress(encoding, body, limit, held).await.map_err(Refused::Text)?;
    let json_length = json_length(&parts.headers, &body).map_err(Refused::Text)?;
    let (mut request, outputs, mut held) =
        decode(body, json_length, &model, limit, &http.service, held).await?;
    if let Some(forward) = &http.header_forward {
        decode::forward_headers(&mut request, forward, &parts.headers)?;
    }
    if let Some(windows) = &outputs.windows {
        request = windows.read(request, &model.config, http.service.device_memory(&model), &mut held).await?;
    }
    let id = request.id.clone();
    access.request(&model, &request);
    let mut response = http.service.infer(&model, request, trace).await?;
    access.answered(&response);
    if let Some(windows) = &outputs.windows {
        response = windows.write(response).await.map_err(Refused::Text)?;
    }
    let encoding = Encoding::of_response(&parts.headers);
    let bytes = response.outputs.iter().map(|o| o.data.len()).sum::<usize>();
    let is_json = |output: &OutputTensor| outputs.is_json(&output.name);
    encode::hold(&response, bytes, is_json, &mut held).map_err(Refused::Text)?;
    let response = if bytes <= LONG_BYTES {
        encode::encode(response, &id, &model, &outputs, encoding, held)
    } else {
        off_the_loop(move || encode::encode(response, &id, &model, &outputs, encoding, held)).await
    };
    trace.mark(Event::InferResponseComplete);
    response.map_err(Refused::Text)
}

/// A small body may become a large one, hence only an uncompressed one stays on the event loop.
async fn decompress(encoding: Encoding, body: Bytes, limit: usize, mut held: Held) -> Result<(Bytes, Held)> {
    match encoding {
        Encoding::Identity => Ok((body, held)),
        _ => off_the_loop(move || Ok((encoding.decode(body, limit, &mut held)?, held))).await,
    }
}

fn check_content_length(headers: &HeaderMap) -> Result<()> {
    let Some(length) = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()) else {
        return Ok(());
    };
    match length.parse::<i32>() {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::invalid_arg(format!(
            "Unable to parse Content-Length, value is out of range [ {}, {} ], got: {length}",
            i32::MIN,
            i32::MAX
        ))),
    }
}

/// How much of the body is JSON: `None` means all, 0 none. A body without anything is a raw one.
fn json_length(headers: &HeaderMap, body: &Bytes) -> Result<Option<usize>> {
    match headers.get(HEADER_LENGTH) {
        Some(value) => {
            let value = String::from_utf8_lossy(value.as_bytes());
            rest::header_length(&value, body.len()).map(Some).map_err(decode::error)
        }
        None if body.is_empty() => Ok(Some(0)),
        None => Ok(None),
    }
}

async fn decode(
    body: Bytes,
    json_length: Option<usize>,
    model: &Arc<ModelVersion>,
    limit: usize,
    service: &Arc<Service>,
    mut held: Held,
) -> Result<(InferRequest, Outputs, Held)> {
    if json_length == Some(0) {
        if body.len() > limit {
            return Err(Error::invalid_arg(format!(
                "Raw input has a byte_size ({} bytes) that exceeds the maximum allowed value of {limit} bytes. Use \
                 --http-max-input-size to increase the limit.",
                body.len()
            )));
        }
        let (request, outputs) = decode::decode_raw(body, &model.config)?;
        return Ok((request, outputs, held));
    }
    let (received, json) = (body.len(), json_length.unwrap_or(body.len()));
    if json > LARGE {
        held.grow(json)?; // about as long as what it becomes
    }
    let (request, outputs) = if json <= LONG_BYTES {
        decode::decode(&body, json_length, &model.config, limit, service.shared_memory())?
    } else {
        let (config, service) = (model.config.clone(), service.clone());
        let decoded;
        (decoded, held) = off_the_loop(move || {
            Ok((decode::decode(&body, json_length, &config, limit, service.shared_memory())?, held))
        })
        .await?;
        decoded
    };
    held.settle(decode::tensor_bytes(&request).max(received))?;
    Ok((request, outputs, held))
}
