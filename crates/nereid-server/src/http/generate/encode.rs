//! [`InferResponse`] → the flat object of `generate`, by itself or as a server-sent event. Mirror image of `decode.rs`.

use std::sync::Arc;

use bytes::Bytes;
use nereid_core::{Error, InferResponse, Result};
use nereid_protocol::rest::{self, Encoding};
use nereid_repository::ModelVersion;
use smallvec::SmallVec;

use crate::http::decode::error;
use crate::http::encode::{hold, parameter, view};
use crate::in_flight::Held;
use crate::off_the_loop::{LONG_BYTES, off_the_loop};

/// How a response is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON object.
    Object,
    /// A server-sent event with a JSON object.
    Event,
}

/// Whose responses are encoded, and how.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) model: Arc<ModelVersion>,
    /// The client's id of the request.
    pub(super) id: String,
    pub(super) form: Form,
}

/// Encodes a response of `sender`; a long one off the event loop.
///
/// # Errors
/// That of the response; or, as errors of an accepted request, an output has no JSON form, or there is no room for it.
pub(super) async fn encode(
    response: Result<InferResponse>,
    sender: &Sender,
    held: &mut Held,
) -> Result<Bytes> {
    let response = response?;
    let bytes = response.outputs.iter().map(|output| output.data.len()).sum();
    hold(&response, bytes, |_| true, held).map_err(Error::accepted)?;
    let written = if bytes <= LONG_BYTES {
        write(response, sender)
    } else {
        let sender = sender.clone();
        off_the_loop(move || write(response, &sender)).await
    };
    written.map_err(Error::accepted)
}

/// A server-sent event with an error.
pub(super) fn error_event(error: &Error) -> Bytes {
    event(&rest::error_body(error.message()))
}

fn write(response: InferResponse, sender: &Sender) -> Result<Bytes> {
    let outputs = response.outputs.iter().map(|output| view(output, Some(Encoding::Json)));
    let outputs = outputs.collect::<Result<SmallVec<[_; 4]>>>()?;
    let parameters: Vec<_> =
        response.parameters.into_iter().map(|(name, value)| (name, parameter(value))).collect();
    let json = rest::write_members(&rest::Response {
        id: &sender.id,
        model_name: &sender.model.id.name,
        model_version: sender.model.version,
        parameters: &parameters,
        outputs: &outputs,
    })
    .map_err(error)?;
    Ok(match sender.form {
        Form::Object => json,
        Form::Event => event(&json),
    })
}

/// `json` has no line breaks, which would end the event.
fn event(json: &[u8]) -> Bytes {
    Bytes::from([b"data: ", json, b"\n\n"].concat())
}
