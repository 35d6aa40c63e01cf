//! `batch_input` and `batch_output` of a config: what a model wants to know about a whole batch, and outputs that
//! go back to their requests by the shape of an input instead of by rows. How they are made is in `batch`.

use std::sync::Arc;

use crate::DataType;

/// An input of the model that no request has: it is made for each batch.
#[derive(Debug, Clone)]
pub struct BatchInput {
    pub kind: BatchInputKind,
    pub element: BatchInputElement,
    /// Inputs of the model that get it.
    pub targets: Vec<Arc<str>>,
    /// Position in the config's inputs of the one that it tells about.
    pub source: usize,
}

/// What a [`BatchInput`] says of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchInputKind {
    /// The elements of each request.
    ElementCount,
    /// The elements of each request and of those before it.
    AccumulatedElementCount,
    /// The same, behind a 0.
    AccumulatedElementCountWithZero,
    /// The elements of the largest request, as the length of the tensor; what it holds says nothing.
    MaxElementCountAsShape,
    /// The shape of each row, without the batch dimension.
    ItemShape,
    /// The same, in one dimension.
    ItemShapeFlatten,
}

/// The types that a [`BatchInput`] can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchInputElement {
    Int32,
    Fp32,
}

impl BatchInputElement {
    /// The same type among all types.
    pub fn datatype(self) -> DataType {
        match self {
            Self::Int32 => DataType::Int32,
            Self::Fp32 => DataType::Fp32,
        }
    }
}

/// An output of which each request gets as much as its input says (`BATCH_SCATTER_WITH_INPUT_SHAPE`): sizes that the
/// output's dims leave open are those of the source in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOutput {
    /// Position in the config's outputs.
    pub output: usize,
    /// Position in the config's inputs.
    pub source: usize,
}
