//! The inputs of a batch: which shapes and values they have, and how they get onto the GPU.
//!
//! What lies in host memory is gathered in page-locked memory, one tensor behind the other, and sent from there; what lies on
//! the GPU already is copied there, or used where it is.

use nereid_core::batch::{Batch, batch_input, gathered_shape};
use nereid_core::{DeviceSlice, Error, Result, Shape};
use nereid_cuda::staging::{self, Places, StagingMemory, Upload, lying};

use crate::plan::{InputPlan, Plan, Source, TensorPlan};
use crate::profiles::InputShape;
use crate::shape_tensor::{self, HostMemory, Values, is_on_host};
use crate::streams::Streams;

/// The inputs of the batch at hand.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// By the position in the plan.
    inputs: Vec<Input>,
    /// Data of inputs that are made for each batch.
    made: Vec<(Shape, Vec<u8>)>,
}

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// With the batch dimension.
    pub(crate) shape: Shape,
    /// In memory of the GPU.
    byte_size: usize,
    /// Where it is.
    pub(crate) address: u64,
    /// Of a shape tensor.
    values: Values,
    host: HostMemory,
}

/// Where inputs are to be put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Destination<'d> {
    /// Memory of the GPU, with room for all places.
    pub(crate) memory: u64,
    pub(crate) places: &'d Places,
    /// Bytes in each place that a graph reads, whatever the batch has; every input goes into its place then. `None`: no graph
    /// runs, and inputs that are on the GPU may stay where they are.
    pub(crate) byte_sizes: Option<&'d [usize]>,
}

impl Inputs {
    pub(crate) fn new(plan: &Plan, batch_inputs: usize) -> Self {
        Self {
            inputs: plan.inputs.iter().map(|_| Input::default()).collect(),
            made: (0..batch_inputs).map(|_| Default::default()).collect(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Input> {
        self.inputs.iter()
    }

    /// Finds out shapes, sizes and values of the inputs of `batch`.
    ///
    /// # Errors
    /// Requests leave an input out, or have another number of bytes than its layout takes.
    pub(crate) fn measure(&mut self, plan: &Plan, batch: &Batch<'_>) -> Result<()> {
        for (config, (shape, data)) in batch.config().batch_inputs.iter().zip(&mut self.made) {
            *shape = batch_input(batch, config, data)?;
        }
        for (input, InputPlan { tensor, source, .. }) in self.inputs.iter_mut().zip(&plan.inputs) {
            match *source {
                Source::Requests { index } if is_on_host(tensor) => {
                    input.values = shape_tensor::values(batch, index, tensor.datatype)?;
                    shape_tensor::write(&input.values, tensor.datatype, &mut input.host)?;
                    input.shape = Shape::from_slice(&tensor.shape);
                    input.address = input.host.address();
                    continue;
                }
                Source::Requests { index } => {
                    input.shape =
                        gathered_shape(batch, index)?.ok_or_else(|| missing(batch, &tensor.shown_name))?;
                    if tensor.layout.is_some() {
                        check_sizes(batch, tensor, index)?;
                    }
                }
                Source::Batch { index } => input.shape.clone_from(&self.made[index].0),
            }
            input.byte_size = tensor.byte_size(&input.shape).ok_or_else(|| {
                Error::internal(format!("input '{}' is larger than any memory", tensor.shown_name))
            })?;
        }
        Ok(())
    }

    /// What the choice of a profile goes by.
    pub(crate) fn shapes<'s>(&'s self, plan: &Plan) -> Vec<InputShape<'s>> {
        let shape = |(input, InputPlan { tensor, .. }): (&'s Input, &InputPlan)| InputShape {
            shape: &input.shape,
            values: is_on_host(tensor).then_some(&*input.values),
        };
        self.inputs.iter().zip(&plan.inputs).map(shape).collect()
    }

    /// Finds places for the inputs, and says how many bytes of memory they take.
    ///
    /// # Errors
    /// No memory could hold them.
    pub(crate) fn place(&mut self, plan: &Plan, batch: &Batch<'_>, gpu: i32) -> Result<Places> {
        let mut places = Places::default();
        for (input, planned) in self.inputs.iter_mut().zip(&plan.inputs) {
            if is_on_host(&planned.tensor) {
                continue;
            }
            input.address = usable(batch, planned.source, gpu).map_or(0, |slice| slice.address);
            if input.address == 0 {
                let too_large = || Error::internal("the inputs are larger than any memory");
                places.push(input.byte_size).ok_or_else(too_large)?;
            }
        }
        Ok(places)
    }

    /// Brings the inputs of `batch`, which were measured and, unless a graph says where they go, placed, to their
    /// `destination`.
    ///
    /// # Errors
    /// The driver fails.
    ///
    /// # Safety
    /// The destination has as many bytes as its places, and like `batch` and `self` stays untouched until the streams have
    /// ended.
    pub(crate) unsafe fn upload(
        &mut self,
        plan: &Plan,
        batch: &Batch<'_>,
        streams: &Streams,
        destination: Destination<'_>,
        staging: Option<&mut StagingMemory>,
    ) -> Result<()> {
        let Destination { memory, places, byte_sizes } = destination;
        let staging = staging.map(|staging| staging.reserve(places.byte_size()));
        // SAFETY: the caller answers for memory and batch; the staging memory is kept by it as well.
        let mut upload = unsafe { Upload::new(streams.compute(), memory, places.byte_size(), staging) };
        let mut number = 0;
        for (input, InputPlan { tensor, source, .. }) in self.inputs.iter_mut().zip(&plan.inputs) {
            if is_on_host(tensor) || (byte_sizes.is_none() && input.address != 0) {
                continue;
            }
            let start = places.offset(number);
            input.address = memory + start as u64;
            let end = match *source {
                Source::Requests { index } => {
                    let tensors = batch.requests().iter().filter_map(|request| request.input(index));
                    upload.put_all(start, tensors.map(staging::Source::from))?
                }
                Source::Batch { index } => {
                    upload.put_all(start, [staging::Source::Host(&self.made[index].1)])?
                }
            };
            if let Some(byte_sizes) = byte_sizes {
                // Rows that no request has: what an earlier batch left there is none of theirs.
                upload.zero(end, (start + byte_sizes[number]).saturating_sub(end))?;
            }
            number += 1;
        }
        Ok(upload.finish()?)
    }
}

/// The memory of the only request's tensor, if the engine can read it there.
fn usable<'b>(batch: &Batch<'b>, source: Source, gpu: i32) -> Option<&'b DeviceSlice> {
    let Source::Requests { index } = source else { return None };
    lying(batch, index, gpu).filter(|slice| slice.address != 0 && slice.byte_size > 0)
}

/// Requests give a tensor in a vectorised layout with its padding.
fn check_sizes(batch: &Batch<'_>, tensor: &TensorPlan, index: usize) -> Result<()> {
    for request in batch.requests() {
        let Some(input) = request.input(index) else { continue };
        let given = staging::Source::from(input).byte_size();
        let expected = tensor.byte_size(&input.shape);
        if expected != Some(given) {
            return Err(Error::invalid_arg(format!(
                "input byte size mismatch for input '{}' for model '{}'. Expected {}, got {given}",
                tensor.shown_name,
                batch.config().name,
                expected.unwrap_or(usize::MAX)
            )));
        }
    }
    Ok(())
}

fn missing(batch: &Batch<'_>, name: &str) -> Error {
    let prefix = batch.requests().first().map(|request| request.log_prefix()).unwrap_or_default();
    Error::invalid_arg(format!("{prefix}unknown request input name {name}"))
}
