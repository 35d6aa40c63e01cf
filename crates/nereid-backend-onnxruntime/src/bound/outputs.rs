//! Binds the outputs of a batch: where the size is known to memory on the GPU, or to the place there that a request names;
//! then gives what the run has written to the requests.

use std::sync::Arc;

use bytes::Bytes;
use nereid_core::backend::Outputs as Given;
use nereid_core::batch::Batch;
use nereid_core::shape::{byte_size, element_count};
use nereid_core::{DataType, Error, OutputTensor, Result};
use nereid_cuda::Stream;
use nereid_cuda::staging::{Area, OnDevice, Produced, is_asked_for, place, scatter};

use super::binding::Binding;
use super::inputs::Session;
use crate::error::check;
use crate::gpu::Gpu;
use crate::inputs::{Borrowed, borrow_in};
use crate::model::Loaded;
use crate::outputs::{HostRoom, hand_out, host_room, odd_shape, shape_of, size};
use crate::plan::Plan;
use crate::raw::Value;
use crate::runtime::Runtime;
use crate::strings::Scratch;

/// Memory that an instance keeps for its outputs, and the outputs of the execution at hand.
#[derive(Debug)]
pub(super) struct Outputs {
    /// One per output of the plan.
    areas: Vec<Area>,
    wanted: Vec<Wanted>,
    strings: Scratch,
}

/// An output that is bound.
#[derive(Debug)]
struct Wanted {
    /// In the plan.
    position: usize,
    room: Room,
}

/// Where an output is written.
#[derive(Debug)]
enum Room {
    /// In host memory; without room ONNX Runtime allocates.
    Host(Option<HostRoom>),
    /// In the output's area.
    Device,
    /// In memory of the GPU that ONNX Runtime allocates.
    Allocated,
    /// In the place of the only request.
    Place,
}

impl Outputs {
    pub(super) fn new(plan: &Plan, gpu: &Gpu, pinned: bool) -> Self {
        let area = || Area::new(&gpu.device, pinned.then(|| gpu.pool.clone()));
        let areas = std::iter::repeat_with(area).take(plan.outputs.len()).collect();
        Self { areas, wanted: Vec::new(), strings: Scratch::default() }
    }

    /// Binds the outputs that any request of `batch` wants, and with `preallocate` makes room for those whose size is
    /// known.
    ///
    /// # Errors
    /// There is not enough memory, or ONNX Runtime refuses a value.
    ///
    /// # Safety
    /// The batch stays, and this is not called again, until `binding` is cleared of outputs and nothing is under way.
    pub(super) unsafe fn bind(
        &mut self,
        loaded: &Loaded,
        session: Session<'_>,
        binding: &mut Binding,
        batch: &Batch<'_>,
        preallocate: bool,
    ) -> Result<()> {
        let Session { runtime, plan, placement, gpu, stream } = session;
        self.wanted.clear();
        for (position, output) in plan.outputs.iter().enumerate() {
            if !batch.wants(output.index) {
                continue;
            }
            let fixed = output.fixed.as_ref().filter(|_| preallocate);
            let room = match fixed {
                None if placement.outputs[position] && is_asked_for(batch, output.index, &*gpu.device) => {
                    binding.output_in(&output.name, &gpu.memory)?;
                    Room::Allocated
                }
                None => {
                    binding.output_in(&output.name, &runtime.cpu)?;
                    Room::Host(None)
                }
                Some(fixed) if placement.outputs[position] => {
                    let (shape, length) = size(output, fixed, batch)?;
                    let place = place(batch, output.index, length, &*gpu.device);
                    let address = match place {
                        Some(place) => place.address,
                        None => self.areas[position].on_device(length)?,
                    };
                    if plan.custom_operators && length > 0 {
                        // What an operator leaves unwritten must not show what the memory held before.
                        // SAFETY: the memory has so many bytes, and nobody else uses them.
                        unsafe { stream.device().fill_zero(address, length, stream.raw()) }?;
                    }
                    let start = address as *mut u8;
                    // SAFETY: the area, or the batch, keeps the memory, as the caller promises.
                    let value =
                        unsafe { borrow_in(runtime, &gpu.memory, start, length, &shape, output.element) }?;
                    binding.output(&output.name, &value)?;
                    if place.is_some() { Room::Place } else { Room::Device }
                }
                Some(fixed) => {
                    let (value, room) = host_room(loaded, output, fixed, batch)?;
                    binding.output(&output.name, &value)?;
                    Room::Host(Some(room))
                }
            };
            self.wanted.push(Wanted { position, room });
        }
        Ok(())
    }

    /// Whether any output has its room already.
    pub(super) fn preallocated(&self) -> bool {
        let is_given = |wanted: &Wanted| !matches!(wanted.room, Room::Host(None) | Room::Allocated);
        self.wanted.iter().any(is_given)
    }

    /// Whether any output is written to host memory.
    pub(super) fn on_host(&self) -> bool {
        self.wanted.iter().any(|wanted| matches!(wanted.room, Room::Host(_)))
    }

    /// Gives the outputs of a run that succeeded to the requests, and waits for the end of the stream. Those in host
    /// memory must have been waited for.
    ///
    /// # Errors
    /// The graph gave something other than it declares, or something in the stream failed.
    pub(super) fn take(
        &mut self,
        loaded: &Arc<Loaded>,
        borrowed: &Borrowed,
        binding: &Binding,
        batch: &Batch<'_>,
        stream: &Stream,
    ) -> Result<Given> {
        let values = binding.outputs()?;
        if values.len() != self.wanted.len() {
            return Err(Error::internal("Retrieved output count is not equal to expected count."));
        }
        let mut produced = Vec::with_capacity(values.len());
        let mut kept = Vec::new();
        for (wanted, value) in self.wanted.drain(..).zip(values) {
            let (plan, position) = (&loaded.plan.outputs[wanted.position], wanted.position);
            let shape = shape_of(loaded.runtime, &value, plan)?;
            let tensor = |data| {
                let (name, datatype) = (plan.shown_name.clone(), plan.datatype);
                Ok::<_, Error>(OutputTensor { name, datatype, shape: plan.shown_shape(&shape)?, data })
            };
            produced.push(match wanted.room {
                Room::Place => Produced::InPlace(tensor(Bytes::new())?),
                Room::Device | Room::Allocated => {
                    let length = byte_size(plan.datatype, &shape).ok_or_else(|| odd_shape(plan, &shape))?;
                    let address = address(loaded.runtime, &value)?;
                    kept.push(value);
                    Produced::OnDevice(OnDevice {
                        tensor: tensor(Bytes::new())?,
                        index: plan.index,
                        address,
                        byte_size: length,
                        area: position,
                    })
                }
                Room::Host(Some(room)) => {
                    drop(value);
                    // SAFETY: the run, which succeeded, wrote all, and nothing is under way to host memory.
                    Produced::OnHost(tensor(unsafe { room.into_bytes() })?)
                }
                Room::Host(None) if plan.datatype == DataType::Bytes => {
                    let count = element_count(&shape).ok_or_else(|| odd_shape(plan, &shape))?;
                    Produced::OnHost(tensor(self.strings.read(loaded.runtime, &value, count)?)?)
                }
                Room::Host(None) => {
                    Produced::OnHost(tensor(hand_out(loaded, borrowed, plan, value, &shape)?)?)
                }
            });
        }
        // SAFETY: the areas are of the stream's GPU. The outputs are in areas or in what is kept until the stream has been
        // waited for, which `scatter` does also when it fails.
        unsafe { scatter(batch, produced, &mut self.areas, stream) }
    }

    /// Forgets what is left of the execution.
    pub(super) fn clear(&mut self) {
        self.wanted.clear();
    }
}

fn address(runtime: &Runtime, value: &Value) -> Result<u64> {
    let mut data = std::ptr::null_mut();
    // SAFETY: the value lives and is a tensor of numbers.
    check(runtime.api, unsafe { (runtime.api.GetTensorMutableData)(value.as_ptr(), &mut data) })?;
    Ok(data.addr() as u64)
}
