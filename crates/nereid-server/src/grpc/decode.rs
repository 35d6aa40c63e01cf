//! gRPC → [`InferRequest`]. Raw contents are slices of the received message; typed contents are written
//! out once; of tensors in shared memory only the place is found here. Mirror image of `encode.rs`; texts are
//! Triton's (`infer_handler.cc`).

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use nereid_core::{
    CorrelationId, DataType, Error, InferRequest, InputTensor, ModelConfig, Parameter, Parameters, Result,
    Shape, string_tensor, unknown_datatype,
};
use nereid_protocol::inference::infer_parameter::ParameterChoice;
use nereid_protocol::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use nereid_protocol::inference::{InferParameter, InferTensorContents, ModelInferRequest};
use tonic::metadata::{KeyAndValueRef, MetadataMap};

use super::shared_memory::bounds;
use crate::header_forward::HeaderForward;
use crate::shared_memory::{SharedMemory, Windows};

/// Longest correlation id that is a string, in bytes.
const MAX_CORRELATION_ID: usize = 128;
/// The only parameter of the `triton_` kind that a client may set.
const EMPTY_FINAL_RESPONSE: &str = "triton_enable_empty_final_response";

/// From here on, names are searched for by halves and not one by one.
const MANY: usize = 16;

/// How requested outputs are wanted.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// Outputs to show as their largest classes, and how many; by name if they are [`MANY`].
    classes: Vec<(String, usize)>,
    /// The tensors of the request that are in shared memory, if any.
    pub(super) windows: Option<Arc<Windows>>,
}

impl Outputs {
    /// Number of classes wanted of `output`, if classes are wanted.
    pub(super) fn classes(&self, output: &str) -> Option<usize> {
        let found = if self.classes.len() < MANY {
            self.classes.iter().find(|(name, _)| name == output)
        } else {
            let at = self.classes.binary_search_by(|(name, _)| name.as_str().cmp(output));
            at.ok().map(|at| &self.classes[at])
        };
        found.map(|(_, count)| *count)
    }
}

/// The parameters that metadata become, worked out once per call; `None` when nothing is forwarded. The error is that of
/// every request of the call.
pub(super) type Forwarded = Option<Arc<Result<Parameters>>>;

/// Takes what is to be forwarded out of `metadata`. Values of binary metadata are decoded.
pub(super) fn forwarded(forward: Option<&HeaderForward>, metadata: &MetadataMap) -> Forwarded {
    let of_the_call = |name: &str| !matches!(name, "te" | "content-type") && !name.starts_with("grpc-");
    let pairs = metadata.iter().map(|pair| match pair {
        KeyAndValueRef::Ascii(key, value) => (key.as_str(), Cow::Borrowed(value.as_bytes())),
        KeyAndValueRef::Binary(key, value) => {
            let decoded = value.to_bytes().map(|bytes| Cow::Owned(bytes.into()));
            (key.as_str(), decoded.unwrap_or_else(|_| value.as_encoded_bytes().into()))
        }
    });
    let pairs = pairs.filter(|(name, _)| of_the_call(name));
    forward.map(|forward| Arc::new(forward.parameters(pairs)))
}

/// Decodes `message` for the model of `config`.
///
/// # Errors
/// `InvalidArg` for the first field that makes no sense.
pub(super) fn decode(
    message: ModelInferRequest,
    config: &ModelConfig,
    shared_memory: &SharedMemory,
) -> Result<(InferRequest, Outputs)> {
    let mut request = InferRequest { id: message.id, ..Default::default() };
    for (name, value) in message.parameters {
        parameter(&mut request, name, value.parameter_choice)?;
    }
    let mut raw =
        RawContents { whole: !message.raw_input_contents.is_empty(), rest: message.raw_input_contents };
    raw.rest.reverse();
    let mut windows = Windows::default();
    request.inputs.reserve(message.inputs.len());
    for tensor in message.inputs {
        let place = bounds(&tensor.name, &tensor.parameters)?;
        let input = match place {
            None => input(tensor, &mut raw, &request.id, config)?,
            Some(place) => {
                no_contents(&tensor, config)?;
                windows.add_input(shared_memory, request.inputs.len(), place)?;
                shared_input(tensor, &request.id, config)?
            }
        };
        request.inputs.push(input);
    }
    let classes = classes(&message.outputs, shared_memory, &mut windows)?;
    request.outputs = message.outputs.into_iter().map(|o| o.name).collect();
    Ok((request, Outputs { classes, windows: windows.into_option() }))
}

/// Raw contents not yet given to an input, last first.
struct RawContents {
    /// The message has any.
    whole: bool,
    rest: Vec<Bytes>,
}

fn parameter(request: &mut InferRequest, name: String, value: Option<ParameterChoice>) -> Result<()> {
    use ParameterChoice::{BoolParam, DoubleParam, Int64Param, StringParam, Uint64Param};
    let wrong = |expected: &str| {
        Err(Error::invalid_arg(format!("invalid value type for '{name}' parameter, expected {expected}.")))
    };
    match (name.as_str(), value) {
        ("sequence_id", Some(Int64Param(id))) => request.sequence.id = CorrelationId::Number(id as u64),
        ("sequence_id", Some(StringParam(id))) if id.len() > MAX_CORRELATION_ID => {
            return Err(Error::invalid_arg(format!(
                "string correlation ID cannot be longer than {MAX_CORRELATION_ID} characters, got {}",
                id.len()
            )));
        }
        ("sequence_id", Some(StringParam(id))) => request.sequence.id = CorrelationId::Text(id),
        ("sequence_id", _) => return wrong("int64_param or string_param"),
        ("sequence_start", Some(BoolParam(start))) => request.sequence.start = start,
        ("sequence_end", Some(BoolParam(end))) => request.sequence.end = end,
        ("sequence_start" | "sequence_end", _) => return wrong("bool_param"),
        ("priority", Some(Uint64Param(priority))) => request.priority = priority,
        ("priority", Some(Int64Param(priority))) => {
            request.priority = u64::try_from(priority)
                .map_err(|_| Error::invalid_arg("invalid value for 'priority', expected value >= 0."))?;
        }
        ("priority", _) => return wrong("int64_param or uint64_param"),
        ("timeout", Some(Int64Param(timeout))) => request.timeout_us = timeout as u64,
        ("timeout", _) => return wrong("int64_param"),
        (EMPTY_FINAL_RESPONSE, Some(BoolParam(_))) => {} // only decoupled models have empty responses
        (EMPTY_FINAL_RESPONSE, _) => return wrong("bool_param"),
        (key, _) if key.starts_with("triton_") => {
            return Err(Error::invalid_arg(format!(
                "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys \
                 starting with 'triton_' are allowed: {EMPTY_FINAL_RESPONSE}"
            )));
        }
        (_, Some(Int64Param(value))) => request.parameters.push((name, Parameter::Int(value))),
        (_, Some(BoolParam(value))) => request.parameters.push((name, Parameter::Bool(value))),
        (_, Some(StringParam(value))) => request.parameters.push((name, Parameter::Text(value))),
        (_, Some(DoubleParam(value))) => request.parameters.push((name, Parameter::Double(value))),
        (_, Some(Uint64Param(_)) | None) => return wrong("int64_param, bool_param, or string_param"),
    }
    Ok(())
}

fn input(
    input: InferInputTensor,
    raw: &mut RawContents,
    id: &str,
    config: &ModelConfig,
) -> Result<InputTensor> {
    let InferInputTensor { name, datatype, shape, contents, .. } = input;
    let model = &config.name;
    let Some(kind) = DataType::from_protocol_name(&datatype) else {
        return Err(unknown_datatype(&name, id, config));
    };
    let data = match contents {
        Some(_) if raw.whole => {
            return Err(Error::invalid_arg(format!(
                "contents field must not be specified when using raw_input_contents for '{name}' for model '{model}'"
            )));
        }
        Some(contents) => typed(&contents, kind).map_err(|wrong| {
            Error::invalid_arg(format!(
                "unexpected explicit tensor data for input tensor '{name}' for model '{model}'{wrong}"
            ))
        })?,
        None => raw.rest.pop().ok_or_else(|| {
            Error::invalid_arg(format!(
                "unable to find data for input tensor '{name}' for model '{model}' in request."
            ))
        })?,
    };
    Ok(InputTensor { name, datatype: kind, shape: Shape::from_vec(shape), data })
}

fn no_contents(input: &InferInputTensor, config: &ModelConfig) -> Result<()> {
    if input.contents.is_none() {
        return Ok(());
    }
    Err(Error::invalid_arg(format!(
        "unexpected 'content' provided when using shared memory for input tensor '{}' for model '{}'",
        input.name, config.name
    )))
}

/// An input whose data is read when the whole request is decoded.
fn shared_input(input: InferInputTensor, id: &str, config: &ModelConfig) -> Result<InputTensor> {
    let InferInputTensor { name, datatype, shape, .. } = input;
    let Some(datatype) = DataType::from_protocol_name(&datatype) else {
        return Err(unknown_datatype(&name, id, config));
    };
    Ok(InputTensor { name, datatype, shape: Shape::from_vec(shape), data: Bytes::new() })
}

/// Writes typed contents out. The error is the end of a sentence.
fn typed(contents: &InferTensorContents, datatype: DataType) -> Result<Bytes, String> {
    let InferTensorContents {
        bool_contents,
        int_contents,
        int64_contents,
        uint_contents,
        uint64_contents,
        fp32_contents,
        fp64_contents,
        bytes_contents,
    } = contents;
    let int = match datatype {
        DataType::Int8 | DataType::Int16 => datatype,
        _ => DataType::Int32,
    };
    let uint = match datatype {
        DataType::Uint8 | DataType::Uint16 => datatype,
        _ => DataType::Uint32,
    };
    let fields = [
        (!bool_contents.is_empty(), DataType::Bool),
        (!int_contents.is_empty(), int),
        (!int64_contents.is_empty(), DataType::Int64),
        (!uint_contents.is_empty(), uint),
        (!uint64_contents.is_empty(), DataType::Uint64),
        (!fp32_contents.is_empty(), DataType::Fp32),
        (!fp64_contents.is_empty(), DataType::Fp64),
        (!bytes_contents.is_empty(), DataType::Bytes),
    ];
    let mut seen = false;
    for (_, field) in fields.into_iter().filter(|(present, _)| *present) {
        if seen {
            return Err(", binary data was already supplied.".to_owned());
        }
        if field != datatype {
            return Err(format!(" of type '{field}', expected datatype '{datatype}'"));
        }
        seen = true;
    }
    let mut data = BytesMut::new();
    match datatype {
        DataType::Bool => data.extend(bool_contents.iter().map(|v| u8::from(*v))),
        DataType::Int8 => data.extend(int_contents.iter().map(|v| *v as u8)),
        DataType::Uint8 => data.extend(uint_contents.iter().map(|v| *v as u8)),
        DataType::Int16 => int_contents.iter().for_each(|v| data.put_i16_le(*v as i16)),
        DataType::Uint16 => uint_contents.iter().for_each(|v| data.put_u16_le(*v as u16)),
        DataType::Int32 => int_contents.iter().for_each(|v| data.put_i32_le(*v)),
        DataType::Uint32 => uint_contents.iter().for_each(|v| data.put_u32_le(*v)),
        DataType::Int64 => int64_contents.iter().for_each(|v| data.put_i64_le(*v)),
        DataType::Uint64 => uint64_contents.iter().for_each(|v| data.put_u64_le(*v)),
        DataType::Fp32 => fp32_contents.iter().for_each(|v| data.put_f32_le(*v)),
        DataType::Fp64 => fp64_contents.iter().for_each(|v| data.put_f64_le(*v)),
        DataType::Bytes => bytes_contents.iter().for_each(|v| string_tensor::push(&mut data, v)),
        DataType::Fp16 | DataType::Bf16 => {} // raw only: no field can have matched
    }
    Ok(data.freeze())
}

/// Outputs to show as their classes. Those that go to shared memory are added to `windows`.
fn classes(
    outputs: &[InferRequestedOutputTensor],
    shared_memory: &SharedMemory,
    windows: &mut Windows,
) -> Result<Vec<(String, usize)>> {
    let mut classes = Vec::new();
    for output in outputs {
        let place = bounds(&output.name, &output.parameters)?;
        if let Some(InferParameter { parameter_choice }) = output.parameters.get("classification") {
            let Some(ParameterChoice::Int64Param(count)) = parameter_choice else {
                return Err(Error::invalid_arg(
                    "invalid value type for 'classification' parameter, expected int64_param",
                ));
            };
            match usize::try_from(*count) {
                Ok(count) if count > 0 => classes.push((output.name.clone(), count)),
                _ => {
                    return Err(Error::invalid_arg(
                        "invalid value for 'classification' parameter, expected >= 0",
                    ));
                }
            }
        }
        let Some(place) = place else { continue };
        if output.parameters.contains_key("classification") {
            return Err(Error::invalid_arg(
                "output can't set both 'shared_memory_region' and 'classification'",
            ));
        }
        windows.add_output(shared_memory, &output.name, place)?;
    }
    if classes.len() >= MANY {
        classes.sort();
    }
    Ok(classes)
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
