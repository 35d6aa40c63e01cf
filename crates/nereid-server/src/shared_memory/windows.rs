//! The tensors of one request that are in shared memory: inputs to read before it runs, outputs to write after.
//!
//! Where the model takes tensors in the memory of a GPU, those that are there stay there: the model is told where.

use std::sync::Arc;

use bytes::Bytes;
use nereid_core::{
    DeviceSlice, DeviceTensors, Error, InferRequest, InferResponse, ModelConfig, OutputTensor, Result,
    check_before_data,
};

use super::SharedMemory;
use super::regions::Lease;
use crate::in_flight::Held;
use crate::off_the_loop::{LONG_BYTES, off_the_loop};

/// The windows of a request on the regions that its tensors are in. The regions stay registered as long.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    /// By the index of the input.
    inputs: Vec<(usize, Window)>,
    /// By the name of the output.
    outputs: Vec<(String, Window)>,
}

/// Some bytes of a region, which has them.
#[derive(Debug)]
struct Window {
    /// Shared with a model that uses the bytes where they are.
    lease: Arc<Lease>,
    offset: u64,
    byte_size: u64,
}

/// Which bytes of which region.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'a> {
    pub(crate) region: &'a str,
    pub(crate) offset: u64,
    pub(crate) byte_size: u64,
}

impl Windows {
    /// The input at `index` of the request is at `bounds`.
    ///
    /// # Errors
    /// `NotFound` without such a region, `InvalidArg` when the bytes are not all in it.
    pub(crate) fn add_input(
        &mut self,
        memory: &SharedMemory,
        index: usize,
        bounds: Bounds<'_>,
    ) -> Result<()> {
        self.inputs.push((index, Window::open(memory, bounds)?));
        Ok(())
    }

    /// The output `name` goes to `bounds`.
    ///
    /// # Errors
    /// As for an input.
    pub(crate) fn add_output(&mut self, memory: &SharedMemory, name: &str, bounds: Bounds<'_>) -> Result<()> {
        self.outputs.push((name.to_owned(), Window::open(memory, bounds)?));
        Ok(())
    }

    /// Itself, unless there is nothing in shared memory.
    pub(crate) fn into_option(self) -> Option<Arc<Self>> {
        (!self.inputs.is_empty() || !self.outputs.is_empty()).then(|| Arc::new(self))
    }

    /// Reads the inputs that are in shared memory into `request`, which is for the model of `config`. Those that are in
    /// the memory of GPU `device`, where the model takes them, stay there, and so do places for outputs.
    ///
    /// # Errors
    /// `InvalidArg` when the input does not fit the model, or the owner has made the memory shorter; `Unavailable`
    /// when there is no memory for a copy, and none that `held` could have.
    pub(crate) async fn read(
        self: &Arc<Self>,
        mut request: InferRequest,
        config: &ModelConfig,
        device: Option<i32>,
        held: &mut Held,
    ) -> Result<InferRequest> {
        if request.inputs.len() > config.inputs.len() {
            return Ok(request); // to be refused for that, whatever is in them
        }
        // A small request can name much memory: nothing is read that the model would not take.
        for (index, window) in &self.inputs {
            check_before_data(&request.inputs[*index], window.byte_size, &request.id, config)?;
        }
        if let Some(device) = device {
            let placed = self.placed(&request, config, device);
            request.device = (!placed.is_empty()).then(|| Box::new(placed));
        }
        let bytes = self.to_read(&request).map(|(_, window)| window.byte_size);
        let bytes = bytes.fold(0, u64::saturating_add);
        held.grow(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        let windows = self.to_read(&request).map(|(_, window)| (window, window.byte_size));
        if !takes_long(windows) {
            return self.read_now(request);
        }
        let windows = self.clone();
        off_the_loop(move || windows.read_now(request)).await
    }

    /// Writes the outputs that go to shared memory, and leaves `response` without their data. An output without data was
    /// written by the model.
    ///
    /// # Errors
    /// Internal when an output is larger than the place that the request names, with Triton's text; `InvalidArg`
    /// when the owner has made the memory shorter.
    pub(crate) async fn write(self: &Arc<Self>, response: InferResponse) -> Result<InferResponse> {
        let windows = response.outputs.iter().filter_map(|output| {
            let window = self.output(output).filter(|_| !output.data.is_empty())?;
            Some((window, output.data.len() as u64))
        });
        if !takes_long(windows) {
            return self.write_now(response);
        }
        let windows = self.clone();
        off_the_loop(move || windows.write_now(response)).await
    }

    fn read_now(&self, mut request: InferRequest) -> Result<InferRequest> {
        let read: Vec<_> = self.to_read(&request).map(|(index, window)| (*index, window.read())).collect();
        for (index, data) in read {
            request.inputs[index].data = data?;
        }
        Ok(request)
    }

    /// The inputs of `request` that do not stay on a GPU.
    fn to_read<'a>(&'a self, request: &'a InferRequest) -> impl Iterator<Item = &'a (usize, Window)> {
        let stays =
            |index| request.device.iter().any(|device| device.inputs.iter().any(|(i, _)| *i == index));
        self.inputs.iter().filter(move |(index, _)| !stays(*index))
    }

    /// The tensors of `request` that are on GPU `device` and may stay there, as far as the model of `config` goes.
    fn placed(&self, request: &InferRequest, config: &ModelConfig, device: i32) -> DeviceTensors {
        let inputs = self.inputs.iter().filter_map(|(index, window)| {
            let input = config.input_index(&request.inputs[*index].name)?;
            let slice = window.on_device(device).filter(|_| config.input_may_be_on_device(input))?;
            Some((*index, slice))
        });
        let outputs = self.outputs.iter().filter_map(|(name, window)| {
            let output = config.output_index(name)?;
            let slice = window.on_device(device).filter(|_| config.output_may_be_on_device(output))?;
            Some((name.clone(), slice))
        });
        DeviceTensors { inputs: inputs.collect(), outputs: outputs.collect() }
    }

    fn write_now(&self, mut response: InferResponse) -> Result<InferResponse> {
        for output in &response.outputs {
            let (size, place) =
                (output.data.len() as u64, self.output(output).map(|window| window.byte_size));
            if let Some(place) = place.filter(|place| size > *place) {
                return Err(Error::internal(format!(
                    "shared memory size specified with the request for output '{}' ({place} bytes) should be at least \
                     {size} bytes to hold the results",
                    output.name
                )));
            }
        }
        for output in &mut response.outputs {
            if let Some(window) = self.output(output).filter(|_| !output.data.is_empty()) {
                window.write(&std::mem::take(&mut output.data))?;
            }
        }
        Ok(response)
    }

    fn output(&self, output: &OutputTensor) -> Option<&Window> {
        self.outputs.iter().find(|(name, _)| **name == *output.name).map(|(_, window)| window)
    }
}

impl Window {
    fn open(memory: &SharedMemory, bounds: Bounds<'_>) -> Result<Self> {
        let Bounds { region, offset, byte_size } = bounds;
        Ok(Self { lease: Arc::new(memory.lease(region, offset, byte_size)?), offset, byte_size })
    }

    /// The bytes, if they are on GPU `device`. Whoever has them uses the region: it stays registered as long, also when
    /// nobody waits for the answer any more.
    fn on_device(&self, device: i32) -> Option<DeviceSlice> {
        let slice = self.lease.region.memory.device_slice(self.offset, self.byte_size)?;
        let DeviceSlice { device: there, address, byte_size, .. } = slice;
        let owner = Arc::new((slice, self.lease.clone()));
        (there == device && byte_size > 0).then(|| DeviceSlice::new(device, address, byte_size, owner))
    }

    fn read(&self) -> Result<Bytes> {
        self.lease.region.memory.read(self.offset, self.byte_size)
    }

    fn write(&self, data: &[u8]) -> Result<()> {
        self.lease.region.memory.write(self.offset, data)
    }
}

/// Whether copying so many bytes through these windows is too long for an event loop.
fn takes_long<'w>(mut copies: impl Iterator<Item = (&'w Window, u64)>) -> bool {
    let mut sum = 0_u64;
    copies.any(|(window, bytes)| {
        sum = sum.saturating_add(bytes);
        sum > LONG_BYTES as u64 || window.lease.region.memory.waits()
    })
}
