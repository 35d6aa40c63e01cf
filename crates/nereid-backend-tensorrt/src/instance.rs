//! Runs one batch at a time: inputs to the GPU, execution, outputs back. When `execute` returns, whatever it returns, nothing
//! on the GPU reads or writes memory of the batch any more.

use std::sync::Arc;

use nereid_core::backend::{Execution, Instance};
use nereid_core::batch::Batch;
use nereid_core::config::InstanceSpec;
use nereid_core::{Error, ModelConfig, Result, Timestamp};
use nereid_cuda::staging::{DeviceMemory, OutputStreams, Places, StagingMemory};
use nereid_cuda::{Device, PinnedPool};
use nereid_tensorrt::{AllocationStrategy, Engine};

use crate::engine_info::EngineInfo;
use crate::failure::no_memory;
use crate::gather::{Destination, Inputs};
use crate::graphs::Graphs;
use crate::output::{self, Output, Place};
use crate::output_allocator::OutputMemory;
use crate::plan::Plan;
use crate::profiled::{self, Profiled};
use crate::scatter::Delivery;
use crate::shape_tensor::{HostMemory, is_on_host};
use crate::streams::Streams;
use crate::{profiles, unwinding};

/// What an instance is made of.
#[derive(Debug)]
pub(crate) struct Parts<'p> {
    pub(crate) config: &'p ModelConfig,
    pub(crate) spec: &'p InstanceSpec,
    pub(crate) engine: Arc<Engine>,
    pub(crate) device: &'p Arc<dyn Device>,
    pub(crate) strategy: AllocationStrategy,
    pub(crate) pool: &'p Arc<PinnedPool>,
}

/// An instance on one GPU.
#[derive(Debug)]
pub(crate) struct TensorRtInstance {
    work: Work,
    streams: Streams,
    /// Why nothing can run any more.
    broken: Option<Error>,
}

/// What runs batches. Fields go in this order: graphs and contexts before the memory that they point to.
#[derive(Debug)]
struct Work {
    name: String,
    graphs: Option<Graphs>,
    /// By the position of the profile in the plan.
    contexts: Vec<Profiled>,
    inputs: Inputs,
    /// Of shape tensors among the outputs, by the position in the plan.
    host_outputs: Vec<HostMemory>,
    input_memory: DeviceMemory,
    output_memory: DeviceMemory,
    input_staging: Option<StagingMemory>,
    output_staging: Option<StagingMemory>,
    plan: Plan,
    device: Arc<dyn Device>,
}

impl TensorRtInstance {
    /// An instance of `parts`.
    ///
    /// # Errors
    /// The config does not fit the engine, or the GPU has no memory left.
    pub(crate) fn new(parts: &Parts<'_>) -> Result<Self> {
        let Parts { config, spec, engine, device, strategy, pool } = parts;
        let name = spec.name.clone();
        let streams = Streams::new(device, config)?;
        let info = EngineInfo { tensors: engine.tensors(), profiles: engine.profiles() };
        let plan = Plan::new(config, info, &spec.profiles, &name)?;
        let context = |profile| Profiled::new(engine, profile, *strategy, &streams, &name);
        let mut contexts = plan.profiles.iter().map(context).collect::<Result<Vec<_>>>()?;
        let graphs = match config.optimization.cuda.graphs {
            true => Graphs::capture(config, &plan, &mut contexts, &streams, &name)?,
            false => None,
        };
        let staging = |wanted: bool| wanted.then(|| StagingMemory::new(device, pool));
        let work = Work {
            graphs,
            contexts,
            inputs: Inputs::new(&plan, config.batch_inputs.len()),
            host_outputs: plan.outputs.iter().map(|_| HostMemory::default()).collect(),
            input_memory: DeviceMemory::new(device),
            output_memory: DeviceMemory::new(device),
            input_staging: staging(config.optimization.pinned_input),
            output_staging: staging(config.optimization.pinned_output),
            plan,
            device: (*device).clone(),
            name,
        };
        work.log(spec);
        Ok(Self { work, streams, broken: None })
    }
}

impl Instance for TensorRtInstance {
    fn execute(&mut self, batch: &Batch<'_>) -> Result<Execution> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let Self { work, streams, broken } = self;
        // A panic leaves nothing in the streams either.
        let result = unwinding::then(|| drop(streams.settle()), || work.run(streams, batch));
        let error = match result {
            Ok(execution) => return Ok(execution),
            Err(error) => error,
        };
        let Err(failure) = streams.settle() else { return Err(error) };
        // What a stream reports when it is waited for, the driver reports from then on to every call of this process.
        let message = format!(
            "instance '{}' cannot run any more since GPU {} failed: {failure}. Restart the server",
            work.name,
            work.device.info().ordinal
        );
        tracing::error!(model = batch.config().name, "{message}");
        Err(broken.insert(Error::internal(message)).clone())
    }

    fn device_memory(&self) -> Option<i32> {
        Some(self.work.device.info().ordinal)
    }

    /// An execution makes the GPU current for its thread and waits for it: a thread that serves requests has better to do.
    fn needs_own_thread(&self) -> bool {
        true
    }
}

impl Work {
    fn run(&mut self, streams: &Streams, batch: &Batch<'_>) -> Result<Execution> {
        // TensorRT works on the GPU that is current for the thread.
        streams.make_current()?;
        self.inputs.measure(&self.plan, batch)?;
        let profile = self.profile();
        profiled::admit(&self.plan, &self.plan.ranges[profile], &self.inputs, &self.name)?;
        let graph = self.graphs.as_ref().and_then(|graphs| graphs.find(profile, &self.inputs));
        let (outputs, inputs_ready) = if graph.is_some() {
            // SAFETY: whoever calls this waits for the streams, whatever comes of it.
            unsafe { self.launch(profile, streams, batch) }?
        } else {
            // SAFETY: as above.
            unsafe { self.enqueue(profile, streams, batch) }?
        };
        streams.end_execution()?;
        let delivery =
            Delivery { plan: &self.plan, batch, outputs: &outputs, host: &self.host_outputs, streams };
        let mut compute_done = inputs_ready;
        // SAFETY: as above.
        let outputs =
            unsafe { delivery.run(self.output_staging.as_mut(), || compute_done = Timestamp::now()) }?;
        Ok(Execution { outputs, parameters: Vec::new(), inputs_ready, compute_done })
    }

    /// The position of the profile to run under.
    fn profile(&self) -> usize {
        if self.contexts.len() == 1 {
            return 0;
        }
        let nearest = profiles::nearest(&self.plan.ranges, &self.inputs.shapes(&self.plan));
        nearest.unwrap_or_else(|| {
            // The request is told; a log that clients can fill is none.
            tracing::debug!("{}", profiles::none_fits(&self.plan.profiles));
            0
        })
    }

    /// Runs the batch as a graph that was captured.
    ///
    /// # Safety
    /// Batch and `self` are not touched until the streams have ended.
    unsafe fn launch(
        &mut self,
        profile: usize,
        streams: &Streams,
        batch: &Batch<'_>,
    ) -> Result<(Vec<Output>, Timestamp)> {
        let Self { graphs, inputs, input_staging, plan, name, .. } = self;
        let graphs = graphs.as_ref().ok_or_else(|| Error::internal("there are no graphs"))?;
        let (execution, graph) =
            graphs.find(profile, inputs).ok_or_else(|| Error::internal("there is no such graph"))?;
        let destination = execution.destination(graphs.input_address());
        // SAFETY: the memory of the graphs is as large as any of them needs.
        unsafe { inputs.upload(plan, batch, streams, destination, input_staging.as_mut()) }?;
        let inputs_ready = Timestamp::now();
        // SAFETY: the graph points into memory of `graphs` and of its context, which nobody else uses.
        unsafe { graph.launch(streams.compute()) }.map_err(|error| {
            Error::internal(format!("unable to execute graph for inference {name}: {error}"))
        })?;
        Ok((execution.outputs().to_vec(), inputs_ready))
    }

    /// Runs the batch as TensorRT sees fit.
    ///
    /// # Safety
    /// As for [`Self::launch`].
    unsafe fn enqueue(
        &mut self,
        profile: usize,
        streams: &Streams,
        batch: &Batch<'_>,
    ) -> Result<(Vec<Output>, Timestamp)> {
        let Self { inputs, input_memory, input_staging, plan, name, device, .. } = self;
        let places = inputs.place(plan, batch, device.info().ordinal)?;
        let bytes = places.byte_size();
        let memory = input_memory.reserve(bytes).map_err(|error| no_memory("inputs", bytes, name, &error))?;
        let destination = Destination { memory, places: &places, byte_sizes: None };
        // SAFETY: so many bytes were reserved, and the caller answers for the rest.
        unsafe { inputs.upload(plan, batch, streams, destination, input_staging.as_mut()) }?;
        let context = &mut self.contexts[profile];
        // SAFETY: the inputs are in memory of `self` or of the batch.
        unsafe { context.set_inputs(plan, inputs, name) }?;
        // SAFETY: as above.
        let mut outputs = unsafe { self.place_outputs(profile) }?;
        let inputs_ready = Timestamp::now();
        let context = &mut self.contexts[profile];
        // SAFETY: the context was told where everything is.
        let enqueued = unsafe { context.enqueue(streams.compute().raw()) };
        if let Err(error) = enqueued {
            let why = outputs.iter().find_map(Output::allocation_failure);
            let why = why.map(|why| format!("; {why}")).unwrap_or_default();
            return Err(Error::internal(format!(
                "unable to enqueue for inference {}: {error}{why}",
                self.name
            )));
        }
        for (output, planned) in outputs.iter_mut().zip(&self.plan.outputs) {
            output.settle(planned)?;
        }
        Ok((outputs, inputs_ready))
    }

    /// Tells the context where to write outputs.
    ///
    /// # Safety
    /// As for [`Self::launch`].
    unsafe fn place_outputs(&mut self, profile: usize) -> Result<Vec<Output>> {
        let Self { contexts, plan, host_outputs, output_memory, name, device, .. } = self;
        let context = &mut contexts[profile];
        // Values of shape tensors are written while shapes are worked out.
        for (planned, host) in plan.outputs.iter().zip(host_outputs) {
            let tensor = &planned.tensor;
            if is_on_host(tensor) {
                let bytes =
                    context.max_output_size(tensor.position).or_else(|| tensor.byte_size(&tensor.shape));
                host.reserve(bytes.ok_or_else(|| {
                    let name = &tensor.shown_name;
                    Error::unsupported(format!("output '{name}' holds sizes, and nothing says how many"))
                })?);
                // SAFETY: the memory is this instance's, and large enough for the largest output.
                unsafe { context.set_address(tensor.position, host.address()) }?;
            }
        }
        context.infer_shapes()?;
        let mut places = Places::default();
        let mut outputs = Vec::with_capacity(plan.outputs.len());
        for planned in &plan.outputs {
            let tensor = &planned.tensor;
            let shape = context.shape(tensor.position)?;
            if is_on_host(tensor) {
                outputs.push(Output { shape, byte_size: 0, place: Place::Host });
            } else if shape.contains(&-1) {
                let memory =
                    context.allocator(tensor.position, || OutputMemory::new(DeviceMemory::new(device)))?;
                outputs.push(Output { shape, byte_size: 0, place: Place::Allocated(memory) });
            } else {
                let byte_size = output::byte_size(planned, &shape)?;
                let place = places.push(output::room(planned, byte_size, context));
                let place = place.ok_or_else(|| Error::internal("the outputs are larger than any memory"))?;
                outputs.push(Output { shape, byte_size, place: Place::Device(place as u64) });
            }
        }
        let bytes = places.byte_size();
        let memory =
            output_memory.reserve(bytes).map_err(|error| no_memory("outputs", bytes, name, &error))?;
        for (output, planned) in outputs.iter_mut().zip(&plan.outputs) {
            if let Place::Device(place) = &mut output.place {
                *place += memory;
                // SAFETY: the output has its own bytes of what was reserved.
                unsafe { context.set_address(planned.tensor.position, *place) }?;
            }
        }
        Ok(outputs)
    }

    fn log(&self, spec: &InstanceSpec) {
        let profile = |chosen: &profiles::Chosen| format!(" {}[{}];", chosen.name, chosen.index);
        let profiles: String = self.plan.profiles.iter().map(profile).collect();
        tracing::info!(
            "Created instance {} on GPU {} with optimization profile{profiles}",
            spec.name,
            self.device.info().ordinal
        );
    }
}
