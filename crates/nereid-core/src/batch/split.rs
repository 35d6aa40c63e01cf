//! Splits the outputs of a batch into one response per request, by slicing, without copying.

use bytes::Bytes;

use crate::batch::Batch;
use crate::shape::Dims;
use crate::{Error, InferResponse, OutputTensor, Result, shape, string_tensor};

/// Gives each request of `batch` its rows of each output it asked for.
///
/// # Errors
/// An output's shape, data and batch size do not agree: the model broke its promise.
pub fn split(batch: &Batch<'_>, outputs: Vec<OutputTensor>) -> Result<Vec<InferResponse>> {
    let mut responses: Vec<InferResponse> = batch
        .requests()
        .iter()
        .map(|_| InferResponse { outputs: Vec::with_capacity(outputs.len()), ..Default::default() })
        .collect();
    for output in outputs {
        let index = batch
            .config()
            .output_index(&output.name)
            .ok_or_else(|| Error::internal(format!("model gave the unknown output '{}'", output.name)))?;
        if let [response] = &mut responses[..] {
            check_rows(batch, &output)?;
            if batch.wants(index) {
                response.outputs.push(output);
            }
            continue;
        }
        let mut rows = Rows::new(batch, &output)?;
        for (request, response) in batch.requests().iter().zip(&mut responses) {
            let (count, data) = rows.take(request.inference_count())?;
            if request.wants(index) {
                let mut shape = output.shape.clone();
                shape[0] = count;
                response.outputs.push(OutputTensor { data, shape, ..output.clone() });
            }
        }
    }
    Ok(responses)
}

fn check_rows(batch: &Batch<'_>, output: &OutputTensor) -> Result<()> {
    let expected = batch.size() as i64;
    if batch.config().batches() && output.shape.first() != Some(&expected) {
        return Err(Error::internal(format!(
            "output '{}' of model '{}' has shape {}, expected a batch dimension of {expected}",
            output.name,
            batch.config().name,
            Dims(&output.shape),
        )));
    }
    Ok(())
}

/// Hands out consecutive rows of one output.
struct Rows<'a> {
    output: &'a OutputTensor,
    elements_per_row: usize,
    offset: usize,
}

impl<'a> Rows<'a> {
    fn new(batch: &Batch<'_>, output: &'a OutputTensor) -> Result<Self> {
        check_rows(batch, output)?;
        let elements_per_row = output
            .shape
            .split_first()
            .and_then(|(_, dims)| shape::element_count(dims))
            .ok_or_else(|| short(output))?;
        Ok(Self { output, elements_per_row, offset: 0 })
    }

    fn take(&mut self, rows: usize) -> Result<(i64, Bytes)> {
        let elements = rows.checked_mul(self.elements_per_row).ok_or_else(|| short(self.output))?;
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
        Ok((rows as i64, data))
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
