//! [`InferResponse`] → HTTP. Binary outputs follow the JSON as they are, not joined. Mirror image of
//! `decode.rs`.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use http_body::Frame;
use nereid_core::{Error, InferResponse, OutputTensor, Parameter, Result};
use nereid_protocol::rest::{self, Datatype, OutputView};
use nereid_repository::ModelVersion;
use smallvec::SmallVec;

use super::decode::{self, Outputs};
use super::encoding::Encoding;
use super::reply::JSON;
use crate::classification::classify;

/// Length of the JSON part of a body.
pub(super) const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// Encodes the answer of `model` to the request `id`.
///
/// # Errors
/// An output cannot be shown as asked: FP16 and BF16 have no JSON form, and some types no classes.
pub(super) fn encode(
    response: InferResponse,
    id: &str,
    model: &ModelVersion,
    wanted: &Outputs,
    encoding: Encoding,
) -> Result<Response> {
    let mut tensors = response.outputs;
    for output in &mut tensors {
        let classes = wanted.classes(&output.name);
        if classes > 0 {
            *output = classify(output, classes, &model.config, &model.labels)?;
        }
    }
    let outputs = tensors.iter().map(|output| view(output, wanted.encoding(&output.name)));
    let outputs = outputs.collect::<Result<SmallVec<[_; 4]>>>()?;
    let parameters: Vec<_> =
        response.parameters.into_iter().map(|(name, value)| (name, parameter(value))).collect();
    let body = rest::write_response(&rest::Response {
        id,
        model_name: &model.id.name,
        model_version: model.version,
        parameters: &parameters,
        outputs: &outputs,
    })
    .map_err(decode::error)?;
    Ok(assemble(body, encoding))
}

/// An output as it is to be written.
pub(super) fn view(output: &OutputTensor, encoding: Option<rest::Encoding>) -> Result<OutputView<'_>> {
    let OutputTensor { name, datatype, shape, data } = output;
    let datatype = Datatype::ALL
        .into_iter()
        .find(|d| d.number() == *datatype as i32)
        .ok_or_else(|| Error::internal(format!("output '{name}' has a type that the protocol lacks")))?;
    Ok(OutputView { name, datatype, shape, data, encoding })
}

/// A parameter of the response as one of the wire.
pub(super) fn parameter(value: Parameter) -> rest::Parameter {
    match value {
        Parameter::Bool(value) => rest::Parameter::Bool(value),
        Parameter::Int(value) => rest::Parameter::Int(value),
        Parameter::Double(value) => rest::Parameter::Double(value),
        Parameter::Text(value) => rest::Parameter::Text(value),
    }
}

fn assemble(body: rest::ResponseBody, encoding: Encoding) -> Response {
    let header_length = body.header_length();
    let mut parts = Parts { next: SmallVec::with_capacity(1 + body.binary.len()), left: 0 };
    parts.next.push(body.json);
    parts.next.extend(body.binary);
    let mut content_encoding = None;
    if let Some(packed) = encoding.encode(&parts.next) {
        parts.next = SmallVec::from_iter([packed]);
        content_encoding = encoding.header();
    }
    parts.left = parts.next.iter().map(|part| part.len() as u64).sum();
    parts.next.reverse();
    let mut response = Response::new(Body::new(parts));
    let headers = response.headers_mut();
    match header_length {
        Some(length) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            headers.insert(HEADER_LENGTH, HeaderValue::from(length));
        }
        None => {
            headers.insert(header::CONTENT_TYPE, JSON);
        }
    }
    if let Some(value) = content_encoding {
        headers.insert(header::CONTENT_ENCODING, value);
    }
    response
}

/// A body of a few parts, last first.
struct Parts {
    next: SmallVec<[Bytes; 2]>,
    left: u64,
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::result::Result<Frame<Bytes>, Self::Error>>> {
        let part = self.next.pop();
        self.left -= part.as_ref().map_or(0, |part| part.len() as u64);
        std::task::Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left)
    }
}
