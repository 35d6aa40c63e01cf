//! `InferRequest` + `ModelConfig` → [`ValidRequest`]. Schedulers and backends accept only that.
//!
//! Order of checks and texts are Triton's (`infer_request.cc`, `Normalize`). Inputs are looked at last
//! to first, which is how Triton's hash map gives a few of them back.

use std::collections::HashSet;

use crate::config::{Control, InputConfig, SequenceBatching, TensorForm};
use crate::placed::Placed;
use crate::shape::Dims;
use crate::string_tensor::{self, Malformed};
use crate::{
    CorrelationId, DataType, DeviceSlice, Error, InferRequest, InputTensor, ModelConfig, Result, Shape,
    ValidInput, ValidRequest, shape,
};

impl ValidRequest {
    /// Checks `request` against `config`.
    ///
    /// # Errors
    /// `InvalidArg` with Triton's text for the first thing that does not fit.
    pub fn new(request: InferRequest, config: &ModelConfig) -> Result<Self> {
        let InferRequest { id, mut inputs, outputs, priority, timeout_us, sequence, parameters, device } =
            request;
        let check = Check { config, id: &id };
        check.no_duplicates("input", inputs.iter().map(|i| i.name.as_str()))?;
        check.no_duplicates("output", outputs.iter().map(String::as_str))?;
        let outputs = check.outputs(&outputs)?;
        check.input_count(&inputs)?;
        let placed = device.map_or(Ok(Placed::default()), |device| Placed::new(*device, &inputs, config))?;
        let count = inputs.len();
        inputs.reverse();
        let batch_size = check.batch_size(&inputs)?;
        let inputs = inputs.into_iter().enumerate();
        let inputs = inputs.map(|(at, input)| check.input(input, placed.input(count - 1 - at)));
        let mut inputs = inputs.collect::<Result<Vec<_>>>()?;
        inputs.sort_unstable_by_key(|i| i.index);
        if let Some(batching) = config.sequence() {
            check.correlation_id(batching, &sequence.id)?;
        }
        Ok(Self {
            id,
            inputs,
            outputs,
            device_outputs: placed.outputs,
            batch_size,
            priority,
            timeout_us,
            sequence,
            parameters,
            null: false,
            trace: None,
        })
    }
}

/// The refusal of a second input of one name.
pub fn duplicate_input(name: &str, request_id: &str) -> Error {
    duplicate("input", name, request_id)
}

/// The refusal of an input whose datatype no protocol knows, in the words of Triton, which compares it like
/// any other.
pub fn unknown_datatype(input: &str, request_id: &str, config: &ModelConfig) -> Error {
    let check = Check { config, id: request_id };
    match check.input_config(input) {
        Err(unexpected) => unexpected,
        Ok((_, expected)) => check.wrong_datatype(input, "<invalid>", expected),
    }
}

/// What is wrong with an input whose data, `byte_size` bytes, is elsewhere and not read yet: everything that
/// [`ValidRequest::new`] would say of this input alone, but for what is in the data.
///
/// # Errors
/// `InvalidArg` with Triton's text.
pub fn check_before_data(
    input: &InputTensor,
    byte_size: u64,
    request_id: &str,
    config: &ModelConfig,
) -> Result<()> {
    let check = Check { config, id: request_id };
    let (_, expected) = check.input_config(&input.name)?;
    check.batch_size(std::slice::from_ref(input))?;
    check.datatype(input, expected)?;
    let shape = check.model_shape(input, expected)?;
    check.byte_size(input, check.counted(&shape, expected), byte_size, expected)
}

fn duplicate(what: &str, name: &str, request_id: &str) -> Error {
    Error::invalid_arg(format!("{}{what} '{name}' already exists in request", request_prefix(request_id)))
}

pub(crate) fn request_prefix(id: &str) -> String {
    format!("[request id: {}] ", if id.is_empty() { "<id_unknown>" } else { id })
}

struct Check<'a> {
    config: &'a ModelConfig,
    id: &'a str,
}

impl Check<'_> {
    /// An `InvalidArg` with the request's id in front.
    fn refuse(&self, message: impl std::fmt::Display) -> Error {
        Error::invalid_arg(format!("{}{message}", request_prefix(self.id)))
    }

    fn model(&self) -> &str {
        &self.config.name
    }

    fn no_duplicates<'n>(
        &self,
        what: &str,
        names: impl ExactSizeIterator<Item = &'n str> + Clone,
    ) -> Result<()> {
        /// So many names are compared faster than hashed.
        const FEW: usize = 8;
        let found = if names.len() <= FEW {
            names.clone().enumerate().find(|(at, name)| names.clone().take(*at).any(|n| n == *name))
        } else {
            let mut seen = HashSet::with_capacity(names.len());
            names.enumerate().find(|(_, name)| !seen.insert(*name))
        };
        found.map_or(Ok(()), |(_, name)| Err(duplicate(what, name, self.id)))
    }

    fn outputs(&self, names: &[String]) -> Result<Option<Box<[usize]>>> {
        if names.is_empty() {
            return Ok(None);
        }
        let index = |name: &String| {
            self.config.output_index(name).ok_or_else(|| {
                Error::invalid_arg(format!(
                    "unexpected inference output '{name}' for model '{}'",
                    self.model()
                ))
            })
        };
        let mut indices = names.iter().map(index).collect::<Result<Vec<_>>>()?;
        indices.sort_unstable();
        Ok(Some(indices.into()))
    }

    fn input_count(&self, inputs: &[InputTensor]) -> Result<()> {
        let most = self.config.inputs.len();
        let required = self.config.inputs.iter().filter(|i| !i.optional).count();
        let is_given = |name: &str| inputs.iter().any(|i| i.name == name);
        // Names that are unknown are told apart later, as in Triton.
        let complete =
            || required == most || self.config.inputs.iter().all(|i| i.optional || is_given(&i.name));
        if (required..=most).contains(&inputs.len()) && complete() {
            return Ok(());
        }
        let given: Vec<&str> = inputs.iter().rev().map(|i| i.name.as_str()).collect();
        let names: HashSet<&str> = given.iter().copied().collect();
        let missing = self.config.inputs.iter().filter(|i| !i.optional && !names.contains(&*i.name));
        let missing: Vec<&str> = missing.map(|i| &*i.name).collect();
        let expected = if required == most {
            format!("expected {most} inputs")
        } else {
            format!("expected number of inputs between {required} and {most}")
        };
        Err(self.refuse(format_args!(
            "{expected} but got {} inputs for model '{}'. Got input(s) {}, but missing required input(s) {}. \
             Please provide all required input(s).",
            inputs.len(),
            self.model(),
            quoted_list(&given),
            // Triton cuts the last character of the list before it closes it, which here is the bracket.
            if missing.is_empty() { "]".into() } else { quoted_list(&missing) },
        )))
    }

    fn input_config(&self, name: &str) -> Result<(usize, &InputConfig)> {
        let index = self.config.input_index(name).ok_or_else(|| {
            Error::invalid_arg(format!("unexpected inference input '{name}' for model '{}'", self.model()))
        })?;
        Ok((index, &self.config.inputs[index]))
    }

    fn batch_size(&self, inputs: &[InputTensor]) -> Result<u32> {
        let mut batch_size = 0;
        for input in inputs {
            let (_, config) = self.input_config(&input.name)?;
            if !self.has_batch_dimension(config) {
                continue;
            }
            let Some(&rows) = input.shape.first() else {
                return Err(self.refuse(format_args!(
                    "input '{}' has no shape but model requires batch dimension for '{}'",
                    input.name,
                    self.model()
                )));
            };
            if batch_size == 0 {
                batch_size = rows; // a batch of 0 counts as "not set yet", as in Triton
            } else if rows != batch_size {
                return Err(self.refuse(format_args!(
                    "input '{}' batch size does not match other inputs for '{}'",
                    input.name,
                    self.model()
                )));
            }
        }
        let most = self.config.max_batch_size;
        u32::try_from(batch_size).ok().filter(|size| *size <= most || !self.config.batches()).ok_or_else(
            || {
                self.refuse(format_args!(
                    "inference request batch-size must be <= {most} for '{}'",
                    self.model()
                ))
            },
        )
    }

    /// `device` is where the data is, if not in host memory.
    fn input(&self, input: InputTensor, device: Option<DeviceSlice>) -> Result<ValidInput> {
        let (index, config) = self.input_config(&input.name)?;
        self.datatype(&input, config)?;
        let shape = self.model_shape(&input, config)?;
        let size = device.as_ref().map_or(input.data.len(), |slice| slice.byte_size);
        self.data(&input, &shape, size, config)?;
        let mut data = input.data;
        if input.datatype == DataType::Bool && data.iter().any(|byte| *byte > 1) {
            // Any byte but 0 is true to a client, but kernels count and index with these bytes.
            data = data.iter().map(|byte| u8::from(*byte != 0)).collect();
        }
        Ok(ValidInput { index, shape, data, device: device.map(Box::new) })
    }

    fn datatype(&self, input: &InputTensor, config: &InputConfig) -> Result<()> {
        if input.datatype == config.datatype {
            return Ok(());
        }
        Err(self.wrong_datatype(&input.name, input.datatype.protocol_name(), config))
    }

    fn wrong_datatype(&self, input: &str, given: &str, expected: &InputConfig) -> Error {
        self.refuse(format_args!(
            "inference input '{input}' data-type is '{given}', but model '{}' expects '{}'",
            self.model(),
            expected.datatype
        ))
    }

    /// The shape that the model wants for `input`.
    fn model_shape(&self, input: &InputTensor, config: &InputConfig) -> Result<Shape> {
        let batch_dims = usize::from(self.has_batch_dimension(config));
        let dims = &input.shape[batch_dims.min(input.shape.len())..];
        if dims.len() == config.dims.len() && dims.contains(&-1) {
            return Err(self.refuse(format_args!(
                "All input dimensions should be specified for input '{}' for model '{}', got {}",
                input.name,
                self.model(),
                Dims(&input.shape)
            )));
        }
        if !shape::matches(&config.dims, dims) {
            return Err(self.unexpected_shape(input, config));
        }
        let Some(reshape) = &config.reshape else { return Ok(input.shape.clone()) };
        Ok(shape::reshape(&input.shape, batch_dims, &config.dims, reshape))
    }

    fn unexpected_shape(&self, input: &InputTensor, config: &InputConfig) -> Error {
        let mut expected = Shape::new();
        let mut note = "";
        if self.has_batch_dimension(config) {
            expected.push(-1);
            note = "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be \
                    prepended to each input shape. If you want to specify the full shape including the batch dim \
                    in your input dims config, try setting max_batch_size to zero. See the model configuration docs \
                    for more info on max_batch_size.";
        }
        expected.extend_from_slice(&config.dims);
        self.refuse(format_args!(
            "unexpected shape for input '{}' for model '{}'. Expected {}, got {}. {note}",
            input.name,
            self.model(),
            Dims(&expected),
            Dims(&input.shape)
        ))
    }

    fn data(&self, input: &InputTensor, shape: &Shape, size: usize, config: &InputConfig) -> Result<()> {
        let dims = self.counted(shape, config);
        self.byte_size(input, dims, size as u64, config)?;
        if input.datatype == DataType::Bytes {
            self.strings(input, shape::element_count(dims).ok_or_else(|| self.too_large(input))?)?;
        }
        if dims.len() < shape.len() {
            // Triton lets an all-empty `[0,0]` through and never answers it.
            return Err(self.refuse(format_args!(
                "inference request batch-size must be >= 1 for '{}', input '{}' has shape {}",
                self.model(),
                input.name,
                Dims(&input.shape)
            )));
        }
        Ok(())
    }

    /// The dimensions that count for the size: Triton drops a batch dimension of 0, so that `[0,16]` expects 16
    /// elements and is refused.
    fn counted<'s>(&self, shape: &'s Shape, config: &InputConfig) -> &'s [i64] {
        if self.has_batch_dimension(config) && shape[0] == 0 { &shape[1..] } else { &shape[..] }
    }

    /// Values of a shape tensor hold for the whole batch.
    fn has_batch_dimension(&self, config: &InputConfig) -> bool {
        self.config.batches() && config.form != TensorForm::Shape
    }

    /// `size` is what elements of a fixed size come to.
    fn byte_size(&self, input: &InputTensor, dims: &[i64], size: u64, config: &InputConfig) -> Result<()> {
        // Only the backend knows how far the channels of a layout are padded.
        if input.datatype == DataType::Bytes || config.form == TensorForm::NonLinear {
            return Ok(());
        }
        let expected = shape::byte_size(input.datatype, dims).ok_or_else(|| self.too_large(input))?;
        if size == expected as u64 {
            return Ok(());
        }
        Err(self.refuse(format_args!(
            "input byte size mismatch for input '{}' for model '{}'. Expected {expected}, got {size}",
            input.name,
            self.model()
        )))
    }

    /// The model takes numbers or strings for ids, or does not look at them.
    fn correlation_id(&self, batching: &SequenceBatching, id: &CorrelationId) -> Result<()> {
        let controls = batching.controls.iter().zip(&self.config.injected_inputs);
        let input =
            controls.filter(|(control, _)| matches!(control, Control::CorrelationId)).map(|(_, i)| i).next();
        let Some(input) = input else { return Ok(()) };
        let given = match (id, input.datatype) {
            (CorrelationId::Number(_), DataType::Bytes) => DataType::Uint64,
            (CorrelationId::Text(_), expected) if expected != DataType::Bytes => DataType::Bytes,
            _ => return Ok(()),
        };
        Err(self.refuse(format_args!(
            "sequence batching control '{}' data-type is '{given}', but model '{}' expects '{}'",
            input.name,
            self.model(),
            input.datatype
        )))
    }

    fn too_large(&self, input: &InputTensor) -> Error {
        self.refuse(format_args!(
            "input '{}' for model '{}' has a shape {} whose byte size overflows",
            input.name,
            self.model(),
            Dims(&input.shape)
        ))
    }

    fn strings(&self, input: &InputTensor, expected: usize) -> Result<()> {
        let InputTensor { name, data, .. } = input;
        let model = self.model();
        let mut count = 0;
        let mut short = None;
        for element in string_tensor::elements(data) {
            match element {
                Ok(_) => {}
                Err(Malformed::Indicator { available }) => {
                    return Err(self.refuse(format_args!(
                        "incomplete string length indicator for inference input '{name}' for model '{model}', \
                         expecting 4 bytes but only {available} bytes available. Please make sure the string \
                         length indicator is in one buffer."
                    )));
                }
                Err(Malformed::Data { expected, available }) => short = Some((expected, available)),
            }
            count += 1;
            if count > expected {
                return Err(self.refuse(format_args!(
                    "unexpected number of string elements {count} for inference input '{name}' for model \
                     '{model}', expecting {expected}"
                )));
            }
        }
        if count != expected {
            return Err(self.refuse(format_args!(
                "expected {expected} string elements for inference input '{name}' for model '{model}', got {count}"
            )));
        }
        match short {
            None => Ok(()),
            // No prefix, and accepted: in Triton this one is the backend's.
            Some((expected, available)) => Err(Error::invalid_arg(format!(
                "incomplete string data for inference input '{name}', expecting string of length {expected} but \
                 only {available} bytes available"
            ))
            .accepted()),
        }
    }
}

fn quoted_list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("'{n}'")).collect();
    format!("[{}]", quoted.join(","))
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
