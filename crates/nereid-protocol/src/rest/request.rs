//! An inference request: a JSON object, and binary tensors behind it.
//!
//! One pass over the JSON. Refusals are kept until it has ended, because Triton parses all of it first; then
//! they count in the order in which Triton looks: id, parameters, inputs, binary data left over, outputs.

use bytes::Bytes;

use super::binary::BinaryParts;
use super::error::{Error, Syntax};
use super::inputs::{self, Context, Input};
use super::json::Reader;
use super::outputs::{self, Encoding, Output};
use super::parameters::{CorrelationId, Parameter, RequestParameters};
use super::value::{NO_ARRAY, Value, no_member};

/// What a client sent to `/v2/models/{model}/infer`.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Empty when there is none.
    pub id: String,
    /// In the client's order, each name once.
    pub inputs: Vec<Input>,
    /// In the client's order; names may repeat; empty means all outputs.
    pub outputs: Vec<Output>,
    /// How outputs that are not listed are written (`binary_data_output`).
    pub default_encoding: Encoding,
    pub sequence_id: CorrelationId,
    pub sequence_start: bool,
    pub sequence_end: bool,
    /// 0 means the model's default.
    pub priority: u64,
    /// In microseconds; 0 means none.
    pub timeout_us: u64,
    /// Custom parameters in the client's order, each name once.
    pub parameters: Vec<(String, Parameter)>,
}

/// Reads a request from `body`, decompressed and whole, of which the first `header_length` bytes are JSON (see
/// [`super::header_length`]; 0 is not for this function) and without that header all of it.
///
/// `max_input_bytes` (`--http-max-input-size`) bounds the JSON and each tensor decoded from it, not binary tensors.
/// `model` is for messages.
///
/// # Errors
/// [`super::ErrorKind::Internal`] for broken JSON and fields of the wrong JSON type,
/// [`super::ErrorKind::InvalidArg`] for the rest, with Triton's words (`http_server.cc`, `triton_json.h`).
pub fn parse_request(
    body: &Bytes,
    header_length: Option<usize>,
    model: &str,
    max_input_bytes: usize,
) -> Result<Request, Error> {
    let length = header_length.unwrap_or(body.len());
    if length > max_input_bytes {
        return Err(json_too_long(length as u64, max_input_bytes));
    }
    let Some(text) = body.get(..length) else {
        let missing = length - body.len();
        return Err(Error::invalid_arg(format!(
            "unexpected size for request JSON, expecting {missing} more bytes"
        )));
    };
    let mut binary = BinaryParts::behind_json(body, length);
    let fields = Fields::read(text, &mut binary, Context { model, max_input_bytes })?;
    fields.settle(&binary, model)
}

/// The refusal of a JSON text of `length` bytes, in Triton's words.
pub fn json_too_long(length: u64, max_input_bytes: usize) -> Error {
    Error::invalid_arg(format!(
        "request JSON size of {length} bytes exceeds the maximum allowed input size of {max_input_bytes} bytes. Use \
         --http-max-input-size to increase the limit."
    ))
}

/// The members of the root object, each read but not yet allowed to fail.
#[derive(Debug, Default)]
struct Fields<'a> {
    id: Option<Value<'a>>,
    parameters: Option<Result<RequestParameters, Error>>,
    inputs: Option<Result<Vec<Input>, inputs::Refusal>>,
    outputs: Option<Result<Vec<Output>, Error>>,
}

impl<'a> Fields<'a> {
    fn read(text: &'a [u8], binary: &mut BinaryParts<'_>, context: Context<'_>) -> Result<Self, Syntax> {
        let mut fields = Self::default();
        let mut reader = Reader::open(text)?;
        if reader.peek() != b'{' {
            reader.skip()?;
            reader.close()?;
            return Ok(fields);
        }
        let mut more = reader.enter_object()?;
        while more {
            let name = reader.name()?;
            // Of equal names Triton sees the first.
            match &*name.bytes() {
                b"id" if fields.id.is_none() => fields.id = Some(reader.value()?),
                b"parameters" if fields.parameters.is_none() => {
                    fields.parameters = Some(RequestParameters::read(&mut reader)?);
                }
                b"inputs" if fields.inputs.is_none() => {
                    fields.inputs = Some(if reader.peek() == b'[' {
                        inputs::read(&mut reader, binary, context)?
                    } else {
                        reader.skip()?;
                        Err(Error::unable_to_parse("inputs", NO_ARRAY).into())
                    });
                }
                b"outputs" if fields.outputs.is_none() => {
                    fields.outputs = Some(if reader.peek() == b'[' {
                        outputs::read(&mut reader)?
                    } else {
                        reader.skip()?;
                        Err(Error::unable_to_parse("outputs", NO_ARRAY))
                    });
                }
                _ => reader.skip()?,
            }
            more = reader.next_member()?;
        }
        reader.close()?;
        Ok(fields)
    }

    fn settle(self, binary: &BinaryParts<'_>, model: &str) -> Result<Request, Error> {
        let id = match self.id {
            Some(id) => id.as_str().map_err(|e| Error::unable_to_parse("id", e))?.text(),
            None => String::new(),
        };
        let parameters = self.parameters.unwrap_or_else(|| Ok(RequestParameters::default()))?;
        let inputs = match self.inputs {
            Some(inputs) => inputs.map_err(|refusal| refusal.of_request(&id))?,
            None => return Err(Error::unable_to_parse("inputs", no_member("inputs"))),
        };
        binary.finish(model)?;
        let outputs = self.outputs.unwrap_or_else(|| Ok(Vec::new()))?;
        Ok(Request {
            id,
            inputs,
            outputs,
            default_encoding: parameters.default_encoding,
            sequence_id: parameters.sequence_id,
            sequence_start: parameters.sequence_start,
            sequence_end: parameters.sequence_end,
            priority: parameters.priority,
            timeout_us: parameters.timeout_us,
            parameters: parameters.custom,
        })
    }
}
