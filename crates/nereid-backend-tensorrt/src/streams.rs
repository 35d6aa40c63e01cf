//! The streams of one instance, and how it waits for them.

use std::sync::Arc;

use nereid_core::ModelConfig;
use nereid_cuda::staging::OutputStreams;
use nereid_cuda::{CudaError, Device, Event, Stream};

/// What an instance puts its work into. Everything is in order: inputs, execution, outputs.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Inputs and execution, and outputs unless they have a stream of their own.
    compute: Stream,
    /// Outputs (`optimization.cuda.output_copy_stream`).
    output: Option<Stream>,
    /// The execution has ended.
    computed: Event,
    /// The outputs are there.
    done: Event,
}

impl Streams {
    /// Streams on `device` as `config` wants them.
    ///
    /// # Errors
    /// The driver fails.
    pub(crate) fn new(device: &Arc<dyn Device>, config: &ModelConfig) -> Result<Self, CudaError> {
        let optimization = &config.optimization;
        let stream = || Stream::new(device, optimization.priority);
        let event = || Event::new(device, optimization.cuda.busy_wait_events);
        Ok(Self {
            compute: stream()?,
            output: optimization.cuda.output_copy_stream.then(stream).transpose()?,
            computed: event()?,
            done: event()?,
        })
    }

    /// For inputs and execution.
    pub(crate) fn compute(&self) -> &Stream {
        &self.compute
    }

    /// Makes the GPU current for this thread, as every call of the driver here does.
    ///
    /// # Errors
    /// The driver fails.
    pub(crate) fn make_current(&self) -> Result<(), CudaError> {
        self.computed.record(&self.compute)
    }

    /// The execution is in its stream: copies of outputs, which come next, wait for it.
    ///
    /// # Errors
    /// The driver fails.
    pub(crate) fn end_execution(&self) -> Result<(), CudaError> {
        self.computed.record(&self.compute)?;
        self.output.as_ref().map_or(Ok(()), |output| output.wait(&self.computed))
    }

    /// Waits for the execution.
    ///
    /// # Errors
    /// It failed, or the driver fails.
    pub(crate) fn wait_for_execution(&self) -> Result<(), CudaError> {
        self.computed.synchronize()
    }
}

impl OutputStreams for Streams {
    fn output(&self) -> &Stream {
        self.output.as_ref().unwrap_or(&self.compute)
    }

    fn wait_for_outputs(&self) -> Result<(), CudaError> {
        self.done.record(self.output())?;
        self.done.synchronize()
    }

    fn settle(&self) -> Result<(), CudaError> {
        let compute = self.compute.synchronize();
        let output = self.output.as_ref().map_or(Ok(()), Stream::synchronize);
        compute.and(output)
    }
}
