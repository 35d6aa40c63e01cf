//! Gathers one input of every request into one tensor. A batch of one is not copied.

use crate::batch::Batch;
use crate::shape::element_count;
use crate::{Error, Result, Shape, ValidInput};

/// One input of a whole batch.
#[derive(Debug)]
pub struct Gathered<'a> {
    /// Shape that the model wants, with the batch dimension if it batches; of a ragged input, the number of elements.
    pub shape: Shape,
    /// Dense data; borrowed from the request if there is one request, else from the caller's buffer.
    pub data: &'a [u8],
}

/// Gathers input `index` (of the config) of `batch`, using `buffer` if there is anything to join.
/// Returns `None` when the requests leave the (optional) input out.
///
/// # Errors
/// Requests disagree on the input's presence or shape; the scheduler must not have joined them. The input is on a GPU.
pub fn concat<'a>(batch: &Batch<'a>, index: usize, buffer: &'a mut Vec<u8>) -> Result<Option<Gathered<'a>>> {
    let Some(shape) = gathered_shape(batch, index)? else { return Ok(None) };
    let on_host = |input: &'a ValidInput| match input.device {
        None => Ok(&input.data[..]),
        Some(_) => Err(Error::internal(format!(
            "input '{}' is on a GPU, where this model cannot read it",
            name(batch, index)
        ))),
    };
    let mut inputs = batch.requests().iter().filter_map(|request| request.input(index)); // all have it, as the shape says
    if batch.requests().len() == 1 {
        let data = inputs.next().map_or(Ok(&[][..]), on_host)?;
        return Ok(Some(Gathered { shape, data }));
    }
    buffer.clear();
    for input in inputs {
        buffer.extend_from_slice(on_host(input)?);
    }
    Ok(Some(Gathered { shape, data: buffer }))
}

/// The shape of what [`concat()`] gathers, wherever the data is.
///
/// # Errors
/// Requests disagree on the input's presence or shape; the scheduler must not have joined them.
pub fn gathered_shape(batch: &Batch<'_>, index: usize) -> Result<Option<Shape>> {
    let (first, others) = batch.requests().split_first().ok_or_else(|| Error::internal("empty batch"))?;
    let differs = || {
        let name = name(batch, index);
        Error::internal(format!("input '{name}' differs in shape or presence within one batch"))
    };
    let Some(input) = first.input(index) else {
        return if others.iter().any(|other| other.input(index).is_some()) {
            Err(differs())
        } else {
            Ok(None)
        };
    };
    let ragged = batch.config().inputs.get(index).is_some_and(|config| config.allow_ragged_batch);
    let mut shape =
        if ragged { Shape::from_slice(&[elements(input).ok_or_else(differs)?]) } else { input.shape.clone() };
    for request in others {
        let other = request.input(index).ok_or_else(differs)?;
        let rows = if ragged {
            elements(other)
        } else {
            Some(other.shape[0]).filter(|_| other.shape[1..] == shape[1..])
        };
        shape[0] += rows.ok_or_else(differs)?;
    }
    Ok(Some(shape))
}

fn name<'a>(batch: &Batch<'a>, index: usize) -> &'a str {
    batch.config().all_inputs().nth(index).map_or("", |input| &input.name)
}

fn elements(input: &ValidInput) -> Option<i64> {
    i64::try_from(element_count(&input.shape)?).ok()
}
