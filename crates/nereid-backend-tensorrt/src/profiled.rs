//! An execution context with its profile: told what a batch is like, and no more than has changed.

use std::sync::Arc;

use nereid_core::shape::Dims;
use nereid_core::{Error, Result, Shape};
use nereid_cuda::RawStream;
use nereid_tensorrt::{AllocationStrategy, Engine, ExecutionContext, TensorRtError};

use crate::failure::Failure;
use crate::gather::Inputs;
use crate::output_allocator::OutputMemory;
use crate::plan::Plan;
use crate::profiles::{Chosen, Range};
use crate::shape_tensor::is_on_host;
use crate::streams::Streams;

/// A context of one instance. The positions of tensors are those of the engine.
#[derive(Debug)]
pub(crate) struct Profiled {
    context: ExecutionContext,
    /// What the context was told last, by tensor.
    shapes: Vec<Option<Shape>>,
    addresses: Vec<u64>,
    allocators: Vec<Option<Arc<OutputMemory>>>,
}

impl Profiled {
    /// A context of `engine` for `profile`.
    ///
    /// # Errors
    /// The GPU has no memory left, or TensorRT refuses.
    pub(crate) fn new(
        engine: &Arc<Engine>,
        profile: &Chosen,
        strategy: AllocationStrategy,
        streams: &Streams,
        instance: &str,
    ) -> Result<Self> {
        let failed =
            |error: TensorRtError| Error::internal(format!("unable to create TensorRT context: {error}"));
        let mut context = engine.create_context(strategy).map_err(failed)?;
        // A context of an engine with one profile has it already.
        if engine.profiles().len() > 1 {
            let stream = streams.compute();
            // SAFETY: the stream is one of the engine's GPU, and the context has not run anything yet.
            let chosen = unsafe { context.set_profile(profile.index, stream.raw()) };
            chosen.map_err(|error| {
                Error::invalid_arg(format!(
                    "Can not set the specified optimization profile {}[{}] for {instance}. Expected optimization profile \
                     index range 0-{}: {error}",
                    profile.name,
                    profile.index,
                    engine.profiles().len().saturating_sub(1)
                ))
            })?;
            stream.synchronize()?;
        }
        let tensors = engine.tensors().len();
        Ok(Self {
            context,
            shapes: vec![None; tensors],
            addresses: vec![0; tensors],
            allocators: vec![None; tensors],
        })
    }

    /// Tells the context shapes and places of `inputs`.
    ///
    /// # Errors
    /// TensorRT refuses one.
    ///
    /// # Safety
    /// The inputs stay where they are until what is enqueued next has ended.
    pub(crate) unsafe fn set_inputs(&mut self, plan: &Plan, inputs: &Inputs, instance: &str) -> Result<()> {
        for (planned, input) in plan.inputs.iter().zip(inputs.iter()) {
            let tensor = &planned.tensor;
            if !is_on_host(tensor) && tensor.is_dynamic() {
                self.set_shape(tensor.position, &input.shape).map_err(|error| {
                    Error::internal(format!(
                        "trt failed to set binding dimension to {} for input '{}' for {instance}: {error}",
                        Dims(&input.shape),
                        tensor.shown_name
                    ))
                })?;
            }
            // SAFETY: the caller answers for the input.
            unsafe { self.set_address(tensor.position, input.address) }?;
        }
        Ok(())
    }

    /// Says how large input `tensor` is, unless that has not changed.
    pub(crate) fn set_shape(&mut self, tensor: usize, shape: &[i64]) -> Result<(), Failure> {
        if self.shapes[tensor].as_deref() == Some(shape) {
            return Ok(());
        }
        self.shapes[tensor] = None;
        self.context.set_input_shape(tensor, shape)?;
        self.shapes[tensor] = Some(Shape::from_slice(shape));
        Ok(())
    }

    /// Says where `tensor` is, unless that has not changed.
    ///
    /// # Safety
    /// The tensor is there until what is enqueued next has ended.
    pub(crate) unsafe fn set_address(&mut self, tensor: usize, address: u64) -> Result<(), Failure> {
        if self.addresses[tensor] == address {
            return Ok(());
        }
        self.addresses[tensor] = 0;
        // SAFETY: the caller answers for the memory.
        unsafe { self.context.set_tensor_address(tensor, address) }?;
        self.addresses[tensor] = address;
        Ok(())
    }

    /// Works out shapes from those of the inputs.
    ///
    /// # Errors
    /// An input has no shape, or shapes do not go together.
    pub(crate) fn infer_shapes(&mut self) -> Result<()> {
        let missing = self.context.missing_inputs();
        let why = match missing {
            Ok(missing) if missing.is_empty() => return Ok(()),
            Ok(missing) => missing.join(", "),
            Err(error) => error.to_string(),
        };
        Err(Error::internal(format!(
            "failed to specify the dimensions of all input tensors or values of all input shape tensors: {why}"
        )))
    }

    /// The shape of `tensor`, with -1 for what only an execution can tell.
    ///
    /// # Errors
    /// TensorRT does not say.
    pub(crate) fn shape(&self, tensor: usize) -> Result<Shape, Failure> {
        Ok(self.context.tensor_shape(tensor).map(Shape::from_vec)?)
    }

    /// Bytes that TensorRT may write for output `tensor`.
    pub(crate) fn max_output_size(&self, tensor: usize) -> Option<usize> {
        self.context.max_output_size(tensor).ok().flatten().and_then(|size| usize::try_from(size).ok())
    }

    /// The memory of output `tensor`, for which TensorRT asks during executions; `make` makes it the first time.
    ///
    /// # Errors
    /// TensorRT refuses it.
    pub(crate) fn allocator(
        &mut self,
        tensor: usize,
        make: impl FnOnce() -> OutputMemory,
    ) -> Result<Arc<OutputMemory>, Failure> {
        if let Some(memory) = &self.allocators[tensor] {
            memory.clear();
            return Ok(memory.clone());
        }
        let memory = Arc::new(make());
        self.context.set_output_allocator(tensor, Some(memory.clone()))?;
        Ok(self.allocators[tensor].insert(memory).clone())
    }

    /// Puts an execution into `stream`.
    ///
    /// # Errors
    /// TensorRT refuses it.
    ///
    /// # Safety
    /// `stream` is one of the engine's GPU, and every tensor is where the context was told, until this has ended.
    pub(crate) unsafe fn enqueue(&mut self, stream: RawStream) -> Result<(), Failure> {
        // SAFETY: the caller answers for stream and memory; `self` is borrowed mutably, and is not used again before the
        // execution has ended.
        Ok(unsafe { self.context.enqueue(stream) }?)
    }
}

/// Whether `inputs` are within `ranges`.
///
/// # Errors
/// Which is not, in Triton's words.
pub(crate) fn admit(plan: &Plan, ranges: &[Range], inputs: &Inputs, instance: &str) -> Result<()> {
    for ((planned, shape), range) in plan.inputs.iter().zip(inputs.shapes(plan)).zip(ranges) {
        if let Some(values) = shape.values {
            range.admit_values(values).map_err(Error::invalid_arg)?;
            continue;
        }
        range.admit(shape.shape).map_err(|why| {
            Error::internal(format!(
                "request specifies invalid shape for input '{}' for {instance}. Error details: {why}",
                planned.tensor.shown_name
            ))
        })?;
    }
    Ok(())
}
