//! One output of an execution: its size, and where it is written.

use std::sync::Arc;

use nereid_core::shape::Dims;
use nereid_core::{Error, Result, Shape};

use crate::output_allocator::OutputMemory;
use crate::plan::OutputPlan;
use crate::profiled::Profiled;

/// One output of an execution.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// The engine's shape.
    pub(crate) shape: Shape,
    /// In memory of the GPU.
    pub(crate) byte_size: usize,
    pub(crate) place: Place,
}

/// Where an output is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// On the GPU.
    Device(u64),
    /// In host memory of the instance.
    Host,
    /// On the GPU, where TensorRT asked for memory.
    Allocated(Arc<OutputMemory>),
}

impl Output {
    /// Where on the GPU it is.
    pub(crate) fn address(&self) -> Option<u64> {
        match &self.place {
            Place::Device(address) => Some(*address),
            Place::Allocated(memory) => memory.address(),
            Place::Host => None,
        }
    }

    /// Takes over what the execution, which was enqueued, has said about its size.
    ///
    /// # Errors
    /// It has said nothing, or something impossible.
    pub(crate) fn settle(&mut self, plan: &OutputPlan) -> Result<()> {
        let Place::Allocated(memory) = &self.place else { return Ok(()) };
        let name = &plan.tensor.shown_name;
        let (shape, room) = memory
            .output()
            .ok_or_else(|| Error::internal(format!("TensorRT did not say how large output '{name}' is")))?;
        self.byte_size = byte_size(plan, &shape)?;
        if self.byte_size > room {
            return Err(Error::internal(format!(
                "unexpected size for output '{name}', byte-size {room} is less than shape {} takes",
                Dims(&shape)
            )));
        }
        self.shape = shape;
        Ok(())
    }

    /// Why there was no memory for it.
    pub(crate) fn allocation_failure(&self) -> Option<String> {
        let Place::Allocated(memory) = &self.place else { return None };
        Some(format!("there is no memory for an output: {}", memory.failure()?))
    }
}

/// The number of bytes of an output of `shape`.
///
/// # Errors
/// The engine gave a shape that makes no sense.
pub(crate) fn byte_size(plan: &OutputPlan, shape: &[i64]) -> Result<usize> {
    plan.tensor.byte_size(shape).filter(|size| isize::try_from(*size).is_ok()).ok_or_else(|| {
        Error::internal(format!(
            "output '{}' has the impossible shape {}",
            plan.tensor.shown_name,
            Dims(shape)
        ))
    })
}

/// Bytes to keep for an output of `byte_size` bytes. TensorRT may write more of a padded layout than its shape says.
pub(crate) fn room(plan: &OutputPlan, byte_size: usize, context: &Profiled) -> usize {
    let most = plan.tensor.layout.and_then(|_| context.max_output_size(plan.tensor.position));
    byte_size.max(most.unwrap_or(0))
}
