//! TensorRT's `enqueueV3` over memory of the first GPU, and the wait for its stream.

#![allow(unsafe_code, reason = "TensorRT is given addresses of memory")]

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use nereid_cuda::{DeviceBuffer, Stream, StreamPriority, driver};
use nereid_tensorrt::{
    AllocationStrategy, ExecutionContext, Library, LoadOptions, Runtime, TensorDataType, TensorInfo,
    TensorLocation, TensorMode,
};

use super::child::Bare;
use crate::args::BareArgs;
use crate::model::{ModelFacts, TensorFacts, input_values, to_bytes};

/// A context of an engine, with the memory of its tensors.
#[derive(Debug)]
pub(super) struct TensorRt {
    // Fields are dropped in this order: nothing runs on the memory any more when it goes.
    context: ExecutionContext,
    stream: Stream,
    output: DeviceBuffer,
    _input: DeviceBuffer,
    facts: ModelFacts,
    output_bytes: usize,
}

impl TensorRt {
    /// Loads the plan, and puts the input on the GPU.
    ///
    /// # Errors
    /// There is no GPU, no TensorRT or no plan, or a tensor is not FP32 with a batch dimension.
    pub(super) fn open(args: &BareArgs) -> Result<Self> {
        let device = driver::devices()?.first().context("there is no GPU")?;
        let options = LoadOptions { path: args.tensorrt_library.clone(), ..LoadOptions::default() };
        let runtime = Runtime::new(&Library::load(&options)?, device)?;
        runtime.set_host_code_allowed(args.version_compatible);
        let plan = fs::read(&args.model_file)
            .with_context(|| format!("cannot read {}", args.model_file.display()))?;
        let engine = runtime.deserialize(&plan)?;
        let (input_index, input) = one(engine.tensors(), TensorMode::Input)?;
        let (output_index, output) = one(engine.tensors(), TensorMode::Output)?;
        let facts = ModelFacts { name: args.model_name.clone(), input, output };

        let mut context = engine.create_context(AllocationStrategy::Static)?;
        context.set_input_shape(input_index, &facts.input.shape(args.batch))?;
        let missing = context.missing_inputs()?;
        ensure!(missing.is_empty(), "TensorRT also wants {}", missing.join(", "));
        let values = to_bytes(&input_values(facts.input.row_elements() * args.batch));
        let output_bytes = facts.output.row_bytes() * args.batch;
        let mut input = DeviceBuffer::new(device, values.len())?;
        input.write(0, &values)?;
        let output = DeviceBuffer::new(device, output_bytes)?;
        // SAFETY: the buffer has the bytes of this shape and is kept beside the context.
        unsafe { context.set_tensor_address(input_index, input.address()) }?;
        // SAFETY: likewise; it is read only after the stream was waited for.
        unsafe { context.set_tensor_address(output_index, output.address()) }?;
        let stream = Stream::new(device, StreamPriority::default())?;
        Ok(Self { context, stream, output, _input: input, facts, output_bytes })
    }
}

impl Bare for TensorRt {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn run(&mut self) -> Result<()> {
        // SAFETY: the stream is one of the same GPU, and every execution is waited for before the next.
        unsafe { self.context.enqueue(self.stream.raw()) }?;
        Ok(self.stream.synchronize()?)
    }

    fn output(&mut self) -> Result<Vec<f32>> {
        self.run()?;
        let mut bytes = vec![0; self.output_bytes];
        self.output.read(0, &mut bytes)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}

/// The only tensor of `mode`, with its number.
fn one(tensors: &[TensorInfo], mode: TensorMode) -> Result<(usize, TensorFacts)> {
    let mut found = tensors.iter().enumerate().filter(|(_, tensor)| tensor.mode == mode);
    let (Some((index, tensor)), None) = (found.next(), found.next()) else {
        bail!("the bench wants one input and one output")
    };
    ensure!(
        tensor.datatype == TensorDataType::Float && tensor.location == TensorLocation::Device,
        "'{}' is not an FP32 tensor on the GPU",
        tensor.name
    );
    match tensor.shape.split_first() {
        Some((_, row)) if row.iter().all(|dim| *dim > 0) => {
            Ok((index, TensorFacts { name: tensor.name.clone(), row: row.to_vec() }))
        }
        _ => bail!(
            "'{}' has shape {:?}, the bench wants a batch dimension and fixed sizes",
            tensor.name,
            tensor.shape
        ),
    }
}
