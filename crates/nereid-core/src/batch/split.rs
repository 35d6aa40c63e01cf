//! Splits the outputs of a batch into one response per request, by slicing, without copying: by rows, or by the shapes
//! of an input where the config says so (`batch_output`). What a backend has split itself is handed on.

use bytes::Bytes;

use crate::backend::Outputs;
use crate::batch::Batch;
use crate::config::{BatchOutput, ModelConfig, State, StateTensor};
use crate::shape::{self, Dims};
use crate::{Error, InferResponse, OutputTensor, Result, Shape, ValidRequest, string_tensor};

/// Gives each request of `batch` its part of each output it asked for, and of the states of its sequence.
///
/// # Errors
/// An output's shape, data and batch size do not agree, or a state is missing: the model broke its promise.
pub fn split(batch: &Batch<'_>, outputs: impl Into<Outputs>) -> Result<Vec<InferResponse>> {
    match outputs.into() {
        Outputs::Batch(outputs) => by_rows(batch, outputs),
        Outputs::Each(outputs) => hand_out(batch, outputs),
    }
}

fn by_rows(batch: &Batch<'_>, outputs: Vec<OutputTensor>) -> Result<Vec<InferResponse>> {
    let config = batch.config();
    let states = config.states();
    let mut responses: Vec<InferResponse> = batch
        .requests()
        .iter()
        .map(|_| InferResponse {
            outputs: Vec::with_capacity(outputs.len()),
            states: states.iter().map(|state| state.initial.clone()).collect(),
            ..Default::default()
        })
        .collect();
    let mut carried = 0;
    for output in outputs {
        let index = config
            .all_outputs()
            .position(|known| known.name == output.name)
            .ok_or_else(|| Error::internal(format!("model gave the unknown output '{}'", output.name)))?;
        // An input that the requests leave out has no shape to go by.
        let source =
            |scattered: &&BatchOutput| batch.requests().iter().any(|r| r.input(scattered.source).is_some());
        if let Some(scattered) = config.batch_output(index).filter(source) {
            scatter(batch, scattered, &output, &mut responses)?;
            continue;
        }
        let exact = check_rows(batch, &output)?;
        let visible = index < config.outputs.len();
        carried += states.iter().filter(|state| state.output == index).count();
        if exact && let ([request], [response]) = (batch.requests(), &mut responses[..]) {
            carry(states, index, &output, response);
            if visible && request.wants(index) {
                response.outputs.push(output);
            }
            continue;
        }
        let elements_per_row = output.shape.split_first().and_then(|(_, dims)| shape::element_count(dims));
        let elements_per_row = elements_per_row.ok_or_else(|| short(&output))?;
        let mut parts = Parts { output: &output, offset: 0 };
        for (request, response) in batch.requests().iter().zip(&mut responses) {
            let rows = request.inference_count();
            let data = parts.take(rows.checked_mul(elements_per_row).ok_or_else(|| short(&output))?)?;
            let mut shape = output.shape.clone();
            shape[0] = rows as i64;
            let part = OutputTensor { data, shape, ..output.clone() };
            carry(states, index, &part, response);
            if visible && request.wants(index) {
                response.outputs.push(part);
            }
        }
    }
    if carried < states.len() {
        return Err(missing_state(config));
    }
    Ok(responses)
}

/// Outputs that are split already, without those that their request does not want.
fn hand_out(batch: &Batch<'_>, outputs: Vec<Vec<OutputTensor>>) -> Result<Vec<InferResponse>> {
    let requests = batch.requests();
    if outputs.len() != requests.len() {
        return Err(Error::internal(format!(
            "model '{}' gave the outputs of {} requests for a batch of {}",
            batch.config().name,
            outputs.len(),
            requests.len()
        )));
    }
    let response = |(request, mut outputs): (&&ValidRequest, Vec<OutputTensor>)| {
        let states = batch.config().states().iter();
        let carried = states.filter_map(|state| {
            let name = &batch.config().all_outputs().nth(state.output)?.name;
            let output = outputs.iter().find(|output| output.name == *name)?;
            Some(StateTensor { shape: output.shape.clone(), data: output.data.clone() })
        });
        let states: Vec<_> = carried.collect();
        if states.len() < batch.config().states().len() {
            return Err(missing_state(batch.config()));
        }
        outputs.retain(|output| batch.config().output_index(&output.name).is_some_and(|i| request.wants(i)));
        Ok(InferResponse { outputs, states, ..Default::default() })
    };
    requests.iter().zip(outputs).map(response).collect()
}

fn missing_state(config: &ModelConfig) -> Error {
    Error::internal(format!("model '{}' left out a state of its sequences", config.name))
}

/// Keeps `output` for the next request of the sequence, if it is a state.
fn carry(states: &[State], index: usize, output: &OutputTensor, response: &mut InferResponse) {
    for (state, kept) in states.iter().zip(&mut response.states) {
        if state.output == index {
            *kept = StateTensor { shape: output.shape.clone(), data: output.data.clone() };
        }
    }
}

/// Gives each request as many elements as its input's shape says, whatever shape the model gave.
fn scatter(
    batch: &Batch<'_>,
    scattered: &BatchOutput,
    output: &OutputTensor,
    responses: &mut [InferResponse],
) -> Result<()> {
    let config = batch.config();
    let mut parts = Parts { output, offset: 0 };
    for (request, response) in batch.requests().iter().zip(responses) {
        let source = request.input(scattered.source).ok_or_else(|| {
            let name = &config.inputs[scattered.source].name;
            Error::internal(format!("input '{name}' differs in presence within one batch"))
        })?;
        let shape = scattered_shape(config, scattered, &source.shape);
        let data = parts.take(shape::element_count(&shape).ok_or_else(|| short(output))?)?;
        if request.wants(scattered.output) {
            let shape = shown_shape(config, scattered.output, shape);
            response.outputs.push(OutputTensor { data, shape, ..output.clone() });
        }
    }
    Ok(())
}

/// The model's dims of the output, with open sizes as `source` has them in the same place.
fn scattered_shape(config: &ModelConfig, scattered: &BatchOutput, source: &[i64]) -> Shape {
    let output = &config.outputs[scattered.output];
    let batch = config.batches().then_some(&-1);
    let dims = batch.into_iter().chain(output.reshape.as_ref().unwrap_or(&output.dims));
    let size = |(place, dim): (usize, &i64)| match dim {
        -1 => source.get(place).copied().unwrap_or(-1),
        dim => *dim,
    };
    dims.enumerate().map(size).collect()
}

/// What clients see of an output of which the model has `shape`.
fn shown_shape(config: &ModelConfig, output: usize, shape: Shape) -> Shape {
    let output = &config.outputs[output];
    let Some(reshape) = &output.reshape else { return shape };
    shape::reshape(&shape, usize::from(config.batches()), reshape, &output.dims)
}

/// Whether `output` has the rows of the batch and no more. What there is more belongs to nobody, as in Triton.
fn check_rows(batch: &Batch<'_>, output: &OutputTensor) -> Result<bool> {
    if !batch.config().batches() {
        return Ok(true);
    }
    let (expected, rows) = (batch.size() as i64, output.shape.first().copied().unwrap_or(0));
    if rows < expected {
        return Err(Error::unsupported(format!(
            "failed to split the output tensor '{}' in responses: expected batch size of at least {expected} in model \
             output, got {rows}",
            output.name,
        )));
    }
    Ok(rows == expected)
}

/// Hands out consecutive parts of one output.
struct Parts<'a> {
    output: &'a OutputTensor,
    offset: usize,
}

impl Parts<'_> {
    fn take(&mut self, elements: usize) -> Result<Bytes> {
        let size = match self.output.datatype.size_bytes() {
            Some(size) => elements.checked_mul(size),
            None => strings_size(&self.output.data[self.offset..], elements),
        };
        let end = size
            .and_then(|size| self.offset.checked_add(size))
            .filter(|end| *end <= self.output.data.len())
            .ok_or_else(|| short(self.output))?;
        let data = self.output.data.slice(self.offset..end);
        self.offset = end;
        Ok(data)
    }
}

/// Bytes that the first `count` elements of a BYTES buffer take.
fn strings_size(data: &[u8], count: usize) -> Option<usize> {
    let mut walk = string_tensor::elements(data);
    for _ in 0..count {
        walk.next()?.ok()?;
    }
    Some(data.len() - walk.rest().len())
}

fn short(output: &OutputTensor) -> Error {
    Error::internal(format!(
        "output '{}' has less data than its shape {} says",
        output.name,
        Dims(&output.shape)
    ))
}
