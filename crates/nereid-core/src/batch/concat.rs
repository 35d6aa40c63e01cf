//! Gathers one input of every request into one tensor. A batch of one is not copied.

use crate::batch::Batch;
use crate::{Error, Result, Shape};

/// One input of a whole batch.
#[derive(Debug)]
pub struct Gathered<'a> {
    /// Shape that the model wants, with the batch dimension if it batches.
    pub shape: Shape,
    /// Dense data; borrowed from the request if there is one request, else from the caller's buffer.
    pub data: &'a [u8],
}

/// Gathers input `index` (of the config) of `batch`, using `buffer` if there is anything to join.
/// Returns `None` when the requests leave the (optional) input out.
///
/// # Errors
/// Requests disagree on the input's presence or shape; the scheduler must not have joined them.
pub fn concat<'a>(batch: &Batch<'a>, index: usize, buffer: &'a mut Vec<u8>) -> Result<Option<Gathered<'a>>> {
    let (first, others) = batch.requests().split_first().ok_or_else(|| Error::internal("empty batch"))?;
    let differs = || {
        let name = &batch.config().inputs[index].name;
        Error::internal(format!("input '{name}' differs in shape or presence within one batch"))
    };
    let Some(input) = first.input(index) else {
        return if others.iter().any(|other| other.input(index).is_some()) {
            Err(differs())
        } else {
            Ok(None)
        };
    };
    let mut shape = input.shape.clone();
    if others.is_empty() {
        return Ok(Some(Gathered { shape, data: &input.data }));
    }
    buffer.clear();
    buffer.extend_from_slice(&input.data);
    for request in others {
        let other =
            request.input(index).filter(|other| other.shape[1..] == shape[1..]).ok_or_else(differs)?;
        shape[0] += other.shape[0];
        buffer.extend_from_slice(&other.data);
    }
    Ok(Some(Gathered { shape, data: buffer }))
}
