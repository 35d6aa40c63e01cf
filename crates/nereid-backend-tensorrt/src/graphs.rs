//! Executions captured as CUDA graphs when an instance is made, and which of them a batch can use.
//!
//! A graph repeats the addresses that it was captured with, so graphs have memory of their own, which never moves, and
//! inputs are copied into it. What cannot be captured is logged and runs as if there were no graphs.

use std::sync::Arc;

use nereid_core::config::GraphSpec;
use nereid_core::shape::Dims;
use nereid_core::{Error, ModelConfig, Result, Shape};
use nereid_cuda::staging::{OutputStreams, Places};
use nereid_cuda::{CudaError, Device, DeviceBuffer, Graph};

use crate::failure::{Failure, no_memory};
use crate::gather::{Destination, Inputs};
use crate::graph_specs;
use crate::output::{self, Output, Place};
use crate::plan::{Plan, Source};
use crate::profiled::Profiled;
use crate::profiles::Range;
use crate::streams::Streams;

/// The graphs of one instance.
#[derive(Debug)]
pub(crate) struct Graphs {
    /// By the position of the profile; each ascends by its shapes.
    captured: Vec<Vec<Captured>>,
    /// The graphs point into them.
    inputs: DeviceBuffer,
    _outputs: DeviceBuffer,
}

/// An execution to be captured, or captured.
#[derive(Debug)]
pub(crate) struct Execution {
    /// Of the inputs, by the position in the plan.
    shapes: Vec<Shape>,
    /// The smallest shapes that it serves.
    least: Vec<Shape>,
    byte_sizes: Vec<usize>,
    places: Places,
    /// Their places are offsets until there is memory.
    outputs: Vec<Output>,
    output_bytes: usize,
}

#[derive(Debug)]
struct Captured {
    execution: Execution,
    graph: Graph,
}

impl Graphs {
    /// Captures what `config` asks for, for each of `contexts`. `None` if nothing could be captured.
    ///
    /// # Errors
    /// The config asks for graphs that make no sense.
    pub(crate) fn capture(
        config: &ModelConfig,
        plan: &Plan,
        contexts: &mut [Profiled],
        streams: &Streams,
        instance: &str,
    ) -> Result<Option<Self>> {
        let specs = graph_specs::wanted(config)?;
        if plan.has_shape_tensors() {
            tracing::warn!("Detected shape tensor, CUDA graph is not captured for {instance}");
            return Ok(None);
        }
        let captured = capture_all(&specs, plan, contexts, streams, instance);
        Ok(captured.unwrap_or_else(|error| {
            tracing::error!("unable to record CUDA graphs for {instance}: {error}");
            None
        }))
    }

    /// The graph with which inputs of these shapes can run under the profile at `profile`: one of just these shapes, else
    /// the first that has rows to spare.
    pub(crate) fn find(&self, profile: usize, inputs: &Inputs) -> Option<(&Execution, &Graph)> {
        let captured = self.captured.get(profile)?;
        let serves = |accepts: fn(&Execution, usize, &[i64]) -> bool| {
            captured.iter().find(|graph| {
                inputs.iter().enumerate().all(|(at, input)| accepts(&graph.execution, at, &input.shape))
            })
        };
        let found = serves(Execution::is_exactly).or_else(|| serves(Execution::has_to_spare))?;
        Some((&found.execution, &found.graph))
    }

    /// Where the inputs of all graphs lie.
    pub(crate) fn input_address(&self) -> u64 {
        self.inputs.address()
    }
}

impl Execution {
    /// Where inputs have to be, given the memory of the graphs.
    pub(crate) fn destination(&self, memory: u64) -> Destination<'_> {
        Destination { memory, places: &self.places, byte_sizes: Some(&self.byte_sizes) }
    }

    pub(crate) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    fn is_exactly(&self, at: usize, shape: &[i64]) -> bool {
        self.shapes[at][..] == *shape
    }

    /// Only the first dimension may be larger than the batch needs: what lies behind one another in memory would otherwise
    /// be something else to the graph.
    fn has_to_spare(&self, at: usize, shape: &[i64]) -> bool {
        let (own, least) = (&self.shapes[at], &self.least[at]);
        match (&own[..], &least[..], shape) {
            ([], _, []) => true,
            ([most, own @ ..], [least, ..], [size, others @ ..]) => {
                own == others && (least..=most).contains(&size)
            }
            _ => false,
        }
    }
}

fn capture_all(
    specs: &[GraphSpec],
    plan: &Plan,
    contexts: &mut [Profiled],
    streams: &Streams,
    instance: &str,
) -> Result<Option<Graphs>> {
    let mut planned: Vec<Vec<Execution>> = Vec::with_capacity(contexts.len());
    for (context, ranges) in contexts.iter_mut().zip(&plan.ranges) {
        let mut executions: Vec<Execution> = Vec::with_capacity(specs.len());
        for spec in specs {
            match Execution::new(spec, plan, ranges, context) {
                Ok(execution) if executions.iter().all(|other| other.shapes != execution.shapes) => {
                    executions.push(execution);
                }
                Ok(_) => {}
                Err(error) => tracing::error!("Failed to set cuda graph shape for {instance}: {error}"),
            }
        }
        executions.sort_by(|a, b| a.shapes.cmp(&b.shapes));
        planned.push(executions);
    }
    let largest = |bytes: fn(&Execution) -> usize| planned.iter().flatten().map(bytes).max();
    let (Some(input_bytes), Some(output_bytes)) =
        (largest(|execution| execution.places.byte_size()), largest(|execution| execution.output_bytes))
    else {
        return Ok(None);
    };
    let device = streams.compute().device();
    let memory = |bytes| {
        DeviceBuffer::new(device, bytes).map_err(|error| no_memory("CUDA graphs", bytes, instance, &error))
    };
    let (inputs, outputs) = (memory(input_bytes)?, memory(output_bytes)?);
    zero(device, &inputs, streams)?;
    let mut captured = Vec::with_capacity(contexts.len());
    for (context, executions) in contexts.iter_mut().zip(planned) {
        let mut of_profile = Vec::with_capacity(executions.len());
        for mut execution in executions {
            execution.move_to(outputs.address());
            // SAFETY: both buffers are as large as the largest execution needs, and go into what this gives, with the graphs.
            match unsafe { execution.record(plan, context, streams, inputs.address()) } {
                Ok(graph) => of_profile.push(Captured { execution, graph }),
                Err(error) => tracing::error!("unable to record CUDA graph for {instance}: {error}"),
            }
        }
        captured.push(of_profile);
    }
    Ok(Some(Graphs { captured, inputs, _outputs: outputs }))
}

/// What the memory held before is no input for anybody.
fn zero(device: &Arc<dyn Device>, memory: &DeviceBuffer, streams: &Streams) -> Result<(), CudaError> {
    if memory.byte_size() > 0 {
        // SAFETY: the buffer has so many bytes, and this waits for the end.
        unsafe { device.fill_zero(memory.address(), memory.byte_size(), streams.compute().raw()) }?;
    }
    streams.settle()
}

impl Execution {
    /// What `spec` means under the profile of `context`, which is told the shapes.
    fn new(spec: &GraphSpec, plan: &Plan, ranges: &[Range], context: &mut Profiled) -> Result<Self> {
        let (mut shapes, mut least) = (Vec::new(), Vec::new());
        let (mut byte_sizes, mut places) = (Vec::new(), Places::default());
        let bound = spec.lower_bound.as_ref().unwrap_or(&spec.shape);
        for (input, range) in plan.inputs.iter().zip(ranges) {
            // What is gathered from all requests, or made for them, has its own length.
            let has_rows = plan.batches && !input.ragged && matches!(input.source, Source::Requests { .. });
            let name = &input.tensor.shown_name;
            let shape = |of: &nereid_core::config::GraphShape| -> Result<Shape> {
                if of.inputs.is_empty() {
                    let mut best = Shape::from_slice(&range.opt);
                    if has_rows && let Some(rows) = best.first_mut() {
                        *rows = i64::from(of.batch_size);
                    }
                    return Ok(best);
                }
                let dims = of.inputs.get(name).ok_or_else(|| {
                    Error::invalid_arg(format!("trt failed to set input shape for unknown input '{name}'"))
                })?;
                let rows = has_rows.then_some(i64::from(of.batch_size));
                Ok(rows.into_iter().chain(dims.iter().copied()).collect())
            };
            let (own, smallest) = (shape(&spec.shape)?, shape(bound)?);
            range.admit(&own).map_err(Error::invalid_arg)?;
            if input.tensor.is_dynamic() {
                context.set_shape(input.tensor.position, &own).map_err(|error| {
                    Error::internal(format!(
                        "trt failed to set input shape to {} for input {name}: {error}",
                        Dims(&own)
                    ))
                })?;
            }
            let too_large = || Error::internal(format!("input '{name}' is larger than any memory"));
            let byte_size = input.tensor.byte_size(&own).ok_or_else(too_large)?;
            places.push(byte_size).ok_or_else(too_large)?;
            byte_sizes.push(byte_size);
            shapes.push(own);
            least.push(smallest);
        }
        context.infer_shapes()?;
        let (outputs, output_bytes) = outputs_of(plan, context)?;
        Ok(Self { shapes, least, byte_sizes, places, outputs, output_bytes })
    }

    fn move_to(&mut self, address: u64) {
        for output in &mut self.outputs {
            if let Place::Device(place) = &mut output.place {
                *place += address;
            }
        }
    }

    /// Runs it once, as TensorRT wants it before a capture, and captures it.
    ///
    /// # Safety
    /// The memory of the inputs, at `inputs`, and of the outputs is there as long as the graph.
    unsafe fn record(
        &self,
        plan: &Plan,
        context: &mut Profiled,
        streams: &Streams,
        inputs: u64,
    ) -> Result<Graph, Failure> {
        for (at, input) in plan.inputs.iter().enumerate() {
            let tensor = input.tensor.position;
            if input.tensor.is_dynamic() {
                context.set_shape(tensor, &self.shapes[at])?;
            }
            // SAFETY: the caller answers for the memory.
            unsafe { context.set_address(tensor, inputs + self.places.offset(at) as u64) }?;
        }
        for (output, planned) in self.outputs.iter().zip(&plan.outputs) {
            if let Place::Device(address) = output.place {
                // SAFETY: as above.
                unsafe { context.set_address(planned.tensor.position, address) }?;
            }
        }
        let stream = streams.compute();
        // SAFETY: as above; this waits for the end.
        let enqueued = unsafe { context.enqueue(stream.raw()) };
        stream.synchronize()?;
        enqueued?;
        // SAFETY: as above; the graph runs what was enqueued, and nothing runs now.
        stream.capture(|| unsafe { context.enqueue(stream.raw()) })
    }
}

/// The outputs of an execution whose input shapes `context` knows, with offsets for places, and the bytes of all.
fn outputs_of(plan: &Plan, context: &Profiled) -> Result<(Vec<Output>, usize)> {
    let mut places = Places::default();
    let mut outputs = Vec::with_capacity(plan.outputs.len());
    for planned in &plan.outputs {
        let name = &planned.tensor.shown_name;
        let shape = context.shape(planned.tensor.position)?;
        if shape.contains(&-1) {
            return Err(Error::unsupported(format!("the size of output '{name}' depends on data")));
        }
        let byte_size = output::byte_size(planned, &shape)?;
        let room = output::room(planned, byte_size, context);
        let offset = places.push(room);
        let offset = offset.ok_or_else(|| Error::internal("the outputs are larger than any memory"))?;
        outputs.push(Output { shape, byte_size, place: Place::Device(offset as u64) });
    }
    Ok((outputs, places.byte_size()))
}
