//! HTTP → [`InferRequest`]. Binary tensors are slices of the received body; of those in shared memory only the place
//! is found here. Mirror image of `encode.rs`.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use nereid_core::shape::{self, Dims};
use nereid_core::{
    CorrelationId, DataType, Error, InferRequest, InputTensor, ModelConfig, Parameter, Result, Sequence,
    Shape, unknown_datatype,
};
use nereid_protocol::rest::{self, ErrorKind, InputData};

use crate::header_forward::HeaderForward;
use crate::shared_memory::{Bounds, SharedMemory, Windows};

/// From here on, names are searched for by halves and not one by one.
const MANY: usize = 16;

/// How outputs are wanted.
#[derive(Debug)]
pub(super) struct Outputs {
    /// Listed outputs, by name if they are [`MANY`]; empty means all.
    listed: Vec<rest::Output>,
    /// For outputs that are not listed.
    default: rest::Encoding,
    /// The tensors of the request that are in shared memory, if any.
    pub(super) windows: Option<Arc<Windows>>,
}

impl Outputs {
    fn new(mut listed: Vec<rest::Output>, default: rest::Encoding, windows: Windows) -> Self {
        if listed.len() >= MANY {
            listed.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Self { listed, default, windows: windows.into_option() }
    }

    /// How to write `output`; `None` when its data goes to shared memory.
    pub(super) fn encoding(&self, output: &str) -> Option<rest::Encoding> {
        match self.find(output) {
            Some(listed) => listed.shared_memory.is_none().then_some(listed.encoding),
            None => Some(self.default),
        }
    }

    /// Whether `output` is to be written as numbers in JSON.
    pub(super) fn is_json(&self, output: &str) -> bool {
        self.encoding(output) == Some(rest::Encoding::Json) && self.classes(output) == 0
    }

    /// Number of classes wanted of `output`; 0 for the tensor itself.
    pub(super) fn classes(&self, output: &str) -> usize {
        self.find(output).map_or(0, |o| o.classification as usize)
    }

    fn find(&self, output: &str) -> Option<&rest::Output> {
        if self.listed.len() < MANY {
            return self.listed.iter().find(|o| o.name == output);
        }
        self.listed.binary_search_by(|o| o.name.as_str().cmp(output)).ok().map(|at| &self.listed[at])
    }
}

/// Decodes a body with JSON: its first `json_length` bytes, or all of it.
///
/// # Errors
/// Triton's text for the first thing that makes no sense.
pub(super) fn decode(
    body: &Bytes,
    json_length: Option<usize>,
    config: &ModelConfig,
    max_input_bytes: usize,
    shared_memory: &SharedMemory,
) -> Result<(InferRequest, Outputs)> {
    let request = rest::parse_request(body, json_length, &config.name, max_input_bytes).map_err(error)?;
    let mut windows = Windows::default();
    let mut inputs = Vec::with_capacity(request.inputs.len());
    for input in request.inputs {
        if let InputData::SharedMemory(place) = &input.data {
            windows.add_input(shared_memory, inputs.len(), bounds(place))?;
        }
        inputs.push(self::input(input, &request.id, config)?);
    }
    for output in &request.outputs {
        if let Some(place) = &output.shared_memory {
            windows.add_output(shared_memory, &output.name, bounds(place))?;
        }
    }
    let decoded = InferRequest {
        id: request.id,
        inputs,
        outputs: request.outputs.iter().map(|o| o.name.clone()).collect(),
        priority: request.priority,
        timeout_us: request.timeout_us,
        sequence: Sequence {
            id: match request.sequence_id {
                rest::CorrelationId::Number(id) => CorrelationId::Number(id),
                rest::CorrelationId::Text(id) => CorrelationId::Text(id),
            },
            start: request.sequence_start,
            end: request.sequence_end,
        },
        parameters: request.parameters.into_iter().map(|(name, value)| (name, parameter(value))).collect(),
        device: None,
    };
    Ok((decoded, Outputs::new(request.outputs, request.default_encoding, windows)))
}

/// Decodes a raw binary request: the whole body is the one input of the model, in a shape that follows
/// from the config and the body's length (Triton's `infer_request.cc`).
///
/// # Errors
/// The model has several inputs or more than one variable dimension, or the length does not fit.
pub(super) fn decode_raw(body: Bytes, config: &ModelConfig) -> Result<(InferRequest, Outputs)> {
    let refuse = |message: String| Err(Error::invalid_arg(format!("[request id: <id_unknown>] {message}")));
    let [input] = &config.inputs[..] else {
        return refuse(format!(
            "Raw request must only have 1 input (found 1) to be deduced but got {} inputs in '{}' model configuration",
            config.inputs.len(),
            config.name
        ));
    };
    let variable = input.dims.iter().filter(|dim| **dim == -1).count();
    if variable > 1 {
        return refuse(format!(
            "The shape of the raw input '{}' can not be deduced because there are more than one variable-sized \
             dimension",
            input.name
        ));
    }
    let known: Vec<i64> = input.dims.iter().copied().filter(|dim| *dim != -1).collect();
    let Some(known) = shape::element_count(&known) else {
        return refuse(format!(
            "the shape {} of the raw input '{}' overflows",
            Dims(&input.dims),
            input.name
        ));
    };
    let mut data = body;
    let deduced = match input.datatype.size_bytes() {
        Some(size) => (data.len() / known.max(1) / size) as i64,
        None if variable > 0 || known != 1 => {
            return refuse(format!(
                "For BYTE datatype raw input '{}', the model must have input shape [1]",
                input.name
            ));
        }
        None => {
            let length = u32::try_from(data.len()).map_err(|_| {
                Error::invalid_arg(format!("raw input '{}' is longer than 4 GiB", input.name))
            })?;
            let mut element = BytesMut::with_capacity(4 + data.len());
            element.put_u32_le(length);
            element.extend_from_slice(&data);
            data = element.freeze();
            1
        }
    };
    let mut dims = Shape::new();
    if config.batches() {
        dims.push(1);
    }
    dims.extend(input.dims.iter().map(|&dim| if dim == -1 { deduced } else { dim }));
    if let Some(expected) = shape::byte_size(input.datatype, &dims)
        && expected != data.len()
    {
        // Triton checks a raw input under this name.
        return refuse(format!(
            "input byte size mismatch for input 'raw_input' for model '{}'. Expected {expected}, got {}",
            config.name,
            data.len()
        ));
    }
    let tensor = InputTensor { name: input.name.to_string(), datatype: input.datatype, shape: dims, data };
    let request = InferRequest { inputs: vec![tensor], ..Default::default() };
    Ok((request, Outputs::new(Vec::new(), rest::Encoding::Binary, Windows::default())))
}

/// Bytes of the tensors of `request`, wherever they come from.
pub(super) fn tensor_bytes(request: &InferRequest) -> usize {
    request.inputs.iter().map(|input| input.data.len()).sum()
}

/// Adds the headers that are to be forwarded to the parameters of `request`.
///
/// # Errors
/// A header that matches has a reserved name.
pub(super) fn forward_headers(
    request: &mut InferRequest,
    forward: &HeaderForward,
    headers: &HeaderMap,
) -> Result<()> {
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes().into()));
    request.parameters.extend(forward.parameters(headers)?);
    Ok(())
}

fn input(input: rest::Input, id: &str, config: &ModelConfig) -> Result<InputTensor> {
    let data = match input.data {
        InputData::Bytes(data) => data,
        InputData::SharedMemory(_) => Bytes::new(), // read when the whole request is decoded
    };
    let Some(datatype) = input.datatype.and_then(|d| DataType::from_number(d.number())) else {
        return Err(unknown_datatype(&input.name, id, config));
    };
    Ok(InputTensor { name: input.name, datatype, shape: Shape::from_vec(input.shape), data })
}

fn bounds(place: &rest::SharedMemory) -> Bounds<'_> {
    Bounds { region: &place.region, offset: place.offset, byte_size: place.byte_size }
}

/// A parameter of the wire as one of the request.
pub(super) fn parameter(value: rest::Parameter) -> Parameter {
    match value {
        rest::Parameter::Bool(value) => Parameter::Bool(value),
        rest::Parameter::Int(value) => Parameter::Int(value),
        rest::Parameter::Double(value) => Parameter::Double(value),
        rest::Parameter::Text(value) => Parameter::Text(value),
    }
}

/// An error of the wire format as one of the server's.
pub(super) fn error(error: rest::Error) -> Error {
    match error.kind {
        ErrorKind::InvalidArg => Error::invalid_arg(error.message),
        ErrorKind::Internal => Error::internal(error.message),
        ErrorKind::Unsupported => Error::unsupported(error.message),
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
