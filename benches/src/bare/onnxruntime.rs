//! ONNX Runtime's `Run` through an I/O binding: on the CPU over host memory, with CUDA over memory of the first GPU, so that
//! a turn copies nothing between host and device.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use ort::ep::CUDA;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::SessionBuilder;
use ort::session::{IoBinding, Session};
use ort::value::{Outlet, Tensor, TensorElementType, TensorValueType, ValueType};

use super::child::Bare;
use crate::args::{BareArgs, BareDevice};
use crate::model::{ModelFacts, TensorFacts, input_values};

/// A session with its binding.
#[derive(Debug)]
pub(super) struct OnnxRuntime {
    session: Session,
    binding: IoBinding,
    facts: ModelFacts,
}

impl OnnxRuntime {
    /// Loads the model and binds one input and one output.
    ///
    /// # Errors
    /// There is no library or no model, the device cannot be used, or a tensor is not FP32 with a batch dimension.
    pub(super) fn open(args: &BareArgs) -> Result<Self> {
        let session = session(args).with_context(|| format!("cannot load {}", args.model_file.display()))?;
        let facts = ModelFacts {
            name: args.model_name.clone(),
            input: tensor_facts(session.inputs())?,
            output: tensor_facts(session.outputs())?,
        };
        let values = input_values(facts.input.row_elements() * args.batch);
        let input = Tensor::from_array((facts.input.shape(args.batch), values))?;
        let mut binding = session.create_binding()?;
        if args.device == BareDevice::Cuda {
            binding.bind_input(facts.input.name.as_str(), &input.to(AllocationDevice::CUDA, 0)?)?;
            let memory =
                MemoryInfo::new(AllocationDevice::CUDA, 0, AllocatorType::Device, MemoryType::Default)?;
            let output =
                Tensor::<f32>::new(&Allocator::new(&session, memory)?, facts.output.shape(args.batch))?;
            binding.bind_output(facts.output.name.as_str(), output)?;
        } else {
            binding.bind_input(facts.input.name.as_str(), &input)?;
            let output = Tensor::<f32>::new(session.allocator(), facts.output.shape(args.batch))?;
            binding.bind_output(facts.output.name.as_str(), output)?;
        }
        Ok(Self { session, binding, facts })
    }
}

impl Bare for OnnxRuntime {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn run(&mut self) -> Result<()> {
        self.session.run_binding(&self.binding)?;
        Ok(())
    }

    fn output(&mut self) -> Result<Vec<f32>> {
        let mut outputs = self.session.run_binding(&self.binding)?;
        let output = outputs.remove(self.facts.output.name.as_str()).context("the run gave no output")?;
        let output = output.downcast::<TensorValueType<f32>>()?;
        if output.memory_info().is_cpu_accessible() {
            return Ok(output.try_extract_tensor::<f32>()?.1.to_vec());
        }
        Ok(output.to(AllocationDevice::CPU, 0)?.try_extract_tensor::<f32>()?.1.to_vec())
    }
}

fn session(args: &BareArgs) -> Result<Session> {
    ensure!(
        std::env::var_os("ORT_DYLIB_PATH").is_some_and(|path| Path::new(&path).is_file()),
        "ORT_DYLIB_PATH does not name the ONNX Runtime library (`cargo xtask bench` sets it)"
    );
    let environment = ort::init().build()?;
    let mut builder = options(Session::builder(&environment)?, args.threads)?;
    if args.device == BareDevice::Cuda {
        let provider = CUDA::default().with_device_id(0).build().error_on_failure();
        builder = builder.with_execution_providers([provider]).map_err(ort::Error::<()>::from)?;
    }
    Ok(builder.commit_from_file(&args.model_file)?)
}

fn options(builder: SessionBuilder, threads: usize) -> ort::Result<SessionBuilder> {
    Ok(builder.with_intra_threads(threads)?.with_inter_threads(1)?.with_intra_op_spinning(false)?)
}

fn tensor_facts(tensors: &[Outlet]) -> Result<TensorFacts> {
    let [tensor] = tensors else {
        bail!("the model has {} inputs or outputs, the bench wants one", tensors.len())
    };
    let name = tensor.name();
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = tensor.dtype() else {
        bail!("'{name}' is not an FP32 tensor");
    };
    match shape.split_first() {
        Some((_, row)) if row.iter().all(|dim| *dim > 0) => {
            Ok(TensorFacts { name: name.into(), row: row.to_vec() })
        }
        _ => bail!("'{name}' has shape {shape:?}, the bench wants a batch dimension and fixed sizes"),
    }
}
