//! Runs one batch at a time on a GPU: gather to the device, run, scatter from there, all on one stream, which is waited for
//! once at the end.

use std::sync::Arc;

use nereid_core::backend::{Execution, Instance, Terminate};
use nereid_core::batch::Batch;
use nereid_core::{ModelConfig, Result, Timestamp};
use nereid_cuda::Stream;

use super::binding::Binding;
use super::inputs::{Inputs, Session};
use super::outputs::Outputs;
use crate::error::is_about_room;
use crate::gpu::Gpu;
use crate::model::Loaded;
use crate::placement::Placement;
use crate::terminate::Handle;

/// An instance with a session and a stream of its own.
#[derive(Debug)]
pub(crate) struct BoundInstance {
    binding: Binding,
    inputs: Inputs,
    outputs: Outputs,
    run_options: Arc<Handle>,
    placement: Placement,
    gpu: Gpu,
    /// The graph keeps the output shapes that it declares; see [`Self::run`].
    preallocate: bool,
    stream: Arc<Stream>,
    // Last, so that whatever borrows from it goes first.
    loaded: Arc<Loaded>,
}

impl BoundInstance {
    /// An instance that runs `loaded`, whose session uses `stream`, on `gpu`.
    ///
    /// # Errors
    /// ONNX Runtime's own.
    pub(crate) fn new(
        config: &ModelConfig,
        loaded: Arc<Loaded>,
        placement: Placement,
        run_options: Handle,
        gpu: Gpu,
        stream: Arc<Stream>,
    ) -> Result<Self> {
        let plan = &loaded.plan;
        Ok(Self {
            binding: Binding::new(loaded.runtime, &loaded.session)?,
            inputs: Inputs::new(plan, &gpu, config.optimization.pinned_input),
            outputs: Outputs::new(plan, &gpu, config.optimization.pinned_output),
            run_options: Arc::new(run_options),
            placement,
            gpu,
            preallocate: true,
            stream,
            loaded,
        })
    }

    fn run(&mut self, batch: &Batch<'_>) -> Result<Execution> {
        let Self { binding, inputs, outputs, run_options, placement, gpu, stream, loaded, .. } = self;
        let session = Session { runtime: loaded.runtime, plan: &loaded.plan, placement, gpu, stream };
        // SAFETY: `execute` keeps the batch until everything is cleared, and waits for the stream after errors.
        unsafe { inputs.bind(session, binding, batch) }?;
        // SAFETY: as above.
        unsafe { outputs.bind(loaded, session, binding, batch, self.preallocate) }?;
        let inputs_ready = Timestamp::now();
        let mut result = binding.run(&loaded.session, run_options);
        if result.as_ref().is_err_and(is_about_room) && outputs.preallocated() {
            // As in `OnnxInstance::run`.
            stream.synchronize()?;
            binding.clear_outputs();
            // SAFETY: as above; nothing is under way.
            unsafe { outputs.bind(loaded, session, binding, batch, false) }?;
            result = binding.run(&loaded.session, run_options);
            self.preallocate = result.is_err();
        }
        result?;
        if outputs.on_host() {
            stream.synchronize()?; // the run may have left copies to host memory under way
        }
        let outputs = outputs.take(loaded, &inputs.borrowed, binding, batch, stream)?;
        // What is in the stream has ended only now, copies included.
        let compute_done = Timestamp::now();
        Ok(Execution { outputs, parameters: Vec::new(), inputs_ready, compute_done })
    }
}

impl Instance for BoundInstance {
    fn execute(&mut self, batch: &Batch<'_>) -> Result<Execution> {
        let execution = self.run(batch);
        if execution.is_err()
            && let Err(error) = self.stream.synchronize()
        {
            tracing::error!(model = batch.config().name, "a stream has failed: {error}");
        }
        // Whatever happened, nothing may point into the batch when this returns.
        self.binding.clear();
        self.outputs.clear();
        self.inputs.borrowed.clear();
        execution
    }

    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        Some(self.run_options.clone())
    }

    fn device_memory(&self) -> Option<i32> {
        Some(self.gpu.device.info().ordinal)
    }
}
