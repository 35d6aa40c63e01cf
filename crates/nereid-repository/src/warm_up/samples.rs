//! The requests that warm a model up, made from what its config says: zeros, random bytes, or a file of the model.
//! Texts are those of `GenerateWarmupData` in Triton's backend_model_instance.cc.

use bytes::Bytes;
use nereid_core::config::{Control, TensorForm, WarmUpData, WarmUpInput, WarmUpSample};
use nereid_core::shape::{Dims, element_count, matches};
use nereid_core::{
    CorrelationId, DataType, Error, InferRequest, InputTensor, ModelConfig, Result, Sequence, Shape,
    ValidInput, ValidRequest,
};

use crate::data_files;
use crate::disk::ModelDir;

/// Most bytes that a batch of a sample may have, and all samples of a model may keep: their size is in the config alone.
const MAX_BYTES: usize = 2 << 30;

/// What a request takes besides its data, about.
const REQUEST_BYTES: usize = 4096;

/// Of a string, its length.
const EMPTY_STRING_BYTES: usize = 4;

/// A batch that is ready to run.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) count: u32,
    batch_size: u32,
    request: ValidRequest,
}

impl Sample {
    /// The requests of one run.
    pub(crate) fn batch(&self) -> Vec<ValidRequest> {
        (0..self.batch_size).map(|_| self.request.clone()).collect()
    }
}

/// Every sample of the model of `config` in `dir`.
///
/// # Errors
/// `InvalidArg`: it does not fit the model, or is too large; `Internal` for a file that cannot be read.
pub(crate) fn prepare(config: &ModelConfig, dir: &ModelDir) -> Result<Vec<Sample>> {
    let mut room = MAX_BYTES;
    config.warm_up.iter().map(|sample| Maker { config, dir, sample, room: &mut room }.make()).collect()
}

struct Maker<'a> {
    config: &'a ModelConfig,
    dir: &'a ModelDir,
    sample: &'a WarmUpSample,
    /// Bytes that may be kept still.
    room: &'a mut usize,
}

impl Maker<'_> {
    fn make(mut self) -> Result<Sample> {
        let WarmUpSample { name, batch_size, count, inputs } = self.sample;
        let most = self.config.max_batch_size;
        if *batch_size > most.max(1) {
            // What Triton's backend says when it is given such a batch.
            return Err(failed(
                name,
                &format!("batch size {batch_size} for '{}', max allowed is {most}", self.config.name),
            ));
        }
        let inputs = inputs.iter().map(|input| self.input(input)).collect::<Result<Vec<_>>>()?;
        let (injected, inputs): (Vec<_>, Vec<_>) =
            inputs.into_iter().partition(|input| self.injected(&input.name).is_some());
        let sequence = Sequence { id: self.no_sequence(), ..Default::default() };
        let request = InferRequest { inputs, sequence, ..Default::default() };
        let mut request = ValidRequest::new(request, self.config)?;
        for input in injected {
            request.inject_missing([self.control(input)?]);
        }
        Ok(Sample { name: name.clone(), count: *count, batch_size: *batch_size, request })
    }

    /// Position among the inputs that a scheduler of sequences adds.
    fn injected(&self, name: &str) -> Option<usize> {
        self.config.injected_inputs.iter().position(|input| &*input.name == name)
    }

    /// An id of the type that the model takes.
    fn no_sequence(&self) -> CorrelationId {
        let controls = self.config.sequence().map_or(&[][..], |batching| &batching.controls);
        let mut ids = controls.iter().zip(&self.config.injected_inputs);
        match ids.find(|(control, _)| matches!(control, Control::CorrelationId)) {
            Some((_, input)) if input.datatype == DataType::Bytes => CorrelationId::Text(String::new()),
            _ => CorrelationId::default(),
        }
    }

    /// A control or a state, which a sample may name like any other input.
    fn control(&self, input: InputTensor) -> Result<ValidInput> {
        let InputTensor { name, datatype, shape, data } = input;
        let position = self.injected(&name).unwrap_or_default();
        let expected = &self.config.injected_inputs[position];
        let dims = &shape[usize::from(self.config.batches()).min(shape.len())..];
        if datatype != expected.datatype || !matches(&expected.dims, dims) {
            return Err(Error::invalid_arg(format!(
                "warmup sample '{}' of model '{}' gives input '{name}' as {datatype} {}, expected {} {}",
                self.sample.name,
                self.config.name,
                Dims(dims),
                expected.datatype,
                Dims(&expected.dims)
            )));
        }
        Ok(ValidInput { index: self.config.inputs.len() + position, shape, data, device: None })
    }

    fn input(&mut self, input: &WarmUpInput) -> Result<InputTensor> {
        let size = byte_size(input)?;
        let data = match &input.data {
            WarmUpData::Zero => self.zeros(size)?,
            WarmUpData::Random if input.datatype == DataType::Bytes => self.zeros(size)?,
            WarmUpData::Random => {
                self.take(size)?;
                let mut data = vec![0; size];
                fastrand::Rng::with_seed(0).fill(&mut data); // the same each time, as in Triton
                data.into()
            }
            WarmUpData::File(file) => self.file(input, size, file)?,
        };
        let mut shape = Shape::new();
        let index = self.config.input_index(&input.name);
        let is_shape_tensor = index.is_some_and(|i| self.config.inputs[i].form == TensorForm::Shape);
        if self.config.batches() && !is_shape_tensor {
            shape.push(1);
        }
        shape.extend_from_slice(&input.dims);
        Ok(InputTensor { name: input.name.clone(), datatype: input.datatype, shape, data })
    }

    fn zeros(&mut self, size: usize) -> Result<Bytes> {
        self.take(size)?;
        Ok(vec![0; size].into())
    }

    /// What is behind the `size` bytes of a file does not count, but for strings.
    fn file(&mut self, input: &WarmUpInput, size: usize, file: &str) -> Result<Bytes> {
        let most = match input.datatype {
            DataType::Bytes => self.most().saturating_add(1), // one that is too long must be seen to be so
            _ => size,
        };
        self.take(if input.datatype == DataType::Bytes { 0 } else { size })?;
        let data = data_files::read(self.dir, data_files::WARM_UP, file, most as u64)?;
        if input.datatype == DataType::Bytes {
            self.take(data.len())?;
        } else if data.len() < size {
            return Err(Error::invalid_arg(format!(
                "[request id: <id_unknown>] warmup setting expects {size} bytes, but the data provided from {file}only \
                 has {} bytes",
                data.len()
            )));
        }
        Ok(data.into())
    }

    /// The most that one more input may have.
    fn most(&self) -> usize {
        let of_batch = (MAX_BYTES / self.sample.batch_size as usize).saturating_sub(REQUEST_BYTES);
        of_batch.min(*self.room)
    }

    /// Counts `size` bytes of each request before they are allocated.
    fn take(&mut self, size: usize) -> Result<()> {
        if size > self.most() {
            return Err(Error::invalid_arg(format!(
                "warmup sample '{}' of model '{}' has {} requests, which with {size} bytes each are more than the limit \
                 of {MAX_BYTES} bytes for a batch, and for one request of each sample together",
                self.sample.name, self.config.name, self.sample.batch_size
            )));
        }
        *self.room -= size;
        Ok(())
    }
}

/// `failed to run warmup sample 's': <what>; `, as Triton has it.
pub(crate) fn failed(sample: &str, what: &str) -> Error {
    Error::invalid_arg(format!("failed to run warmup sample '{sample}': {what}; "))
}

/// Bytes of the data; for strings, of as many empty ones.
fn byte_size(input: &WarmUpInput) -> Result<usize> {
    let WarmUpInput { name, datatype, dims, .. } = input;
    if dims.iter().any(|dim| *dim < -1) {
        return Err(Error::invalid_arg(format!(
            "tensor '{name}' contains an invalid dimension in shape {}",
            Dims(dims)
        )));
    }
    if dims.contains(&-1) {
        return Err(Error::invalid_arg(format!(
            "warmup setting expects all variable-size dimensions are specified for input '{name}'"
        )));
    }
    let element = datatype.size_bytes().unwrap_or(EMPTY_STRING_BYTES);
    element_count(dims).and_then(|count| count.checked_mul(element)).ok_or_else(|| {
        Error::invalid_arg(format!("byte size for tensor '{name}' exceeds maximum size of {}", i64::MAX))
    })
}
