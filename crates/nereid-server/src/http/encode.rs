//! [`InferResponse`] → HTTP. Binary outputs follow the JSON as they are, not joined. Mirror image of
//! `decode.rs`.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use http_body::Frame;
use nereid_core::{DataType, Error, InferResponse, OutputTensor, Parameter, Result};
use nereid_protocol::rest::{self, Datatype, OutputView};
use nereid_repository::ModelVersion;
use smallvec::SmallVec;

use super::decode::{self, Outputs};
use super::encoding::Encoding;
use super::reply::JSON;
use crate::classification::classify;
use crate::in_flight::{Held, LARGE};

/// Length of the JSON part of a body.
pub(super) const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// Lets `held` have what is there of an answer, tensors of `bytes` bytes, and room for those that become JSON. A short
/// answer takes no more than its request.
///
/// # Errors
/// There is no room for its JSON.
pub(super) fn hold(
    response: &InferResponse,
    bytes: usize,
    is_json: impl Fn(&OutputTensor) -> bool,
    held: &mut Held,
) -> Result<()> {
    let json = response.outputs.iter().filter(|output| is_json(output)).map(json_bytes).sum::<usize>();
    if bytes + json > LARGE {
        held.set(bytes);
        held.grow(json)?;
    }
    Ok(())
}

/// About how long a tensor is in JSON: numbers with as many digits as random ones have.
fn json_bytes(output: &OutputTensor) -> usize {
    let digits = match output.datatype {
        DataType::Fp32 => 20,
        DataType::Fp64 => 24,
        _ => match output.datatype.size_bytes() {
            None => return output.data.len(),
            Some(1) => 5,
            Some(2) => 7,
            Some(4) => 12,
            Some(_) => 21,
        },
    };
    output.data.len() / output.datatype.size_bytes().unwrap_or(1) * digits
}

/// Encodes the answer of `model` to the request `id`, which has `held` until it is written.
///
/// # Errors
/// An output cannot be shown as asked: FP16 and BF16 have no JSON form, and some types no classes.
pub(super) fn encode(
    response: InferResponse,
    id: &str,
    model: &ModelVersion,
    wanted: &Outputs,
    encoding: Encoding,
    held: Held,
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
    Ok(assemble(body, encoding, held))
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

fn assemble(body: rest::ResponseBody, encoding: Encoding, held: Held) -> Response {
    let header_length = body.header_length();
    let mut parts = Parts { next: SmallVec::with_capacity(1 + body.binary.len()), left: 0 };
    parts.next.push(body.json);
    parts.next.extend(body.binary);
    let mut content_encoding = None;
    if let Some(packed) = encoding.encode(&parts.next) {
        parts.next = SmallVec::from_iter([packed]);
        content_encoding = encoding.header();
    }
    let bytes = parts.next.iter().map(Bytes::len).sum::<usize>();
    parts.left = bytes as u64;
    if let Some(last) = parts.next.iter_mut().rfind(|part| !part.is_empty()) {
        *last = held.until_written(std::mem::take(last), bytes);
    }
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
