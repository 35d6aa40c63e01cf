//! Makes room for the outputs of a run and turns them into response tensors. Where the size is known the
//! run writes into memory that becomes the response; where it is not, the memory that ONNX Runtime
//! allocated is handed out. Small ones are copied out instead, which costs less than to keep them.

use std::ffi::c_char;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use bytes::Bytes;
use nereid_core::batch::Batch;
use nereid_core::shape::{Dims, byte_size, element_count};
use nereid_core::{DataType, Error, OutputTensor, Result, Shape};

use crate::error::check;
use crate::inputs::{Borrowed, Inputs, borrow};
use crate::model::Loaded;
use crate::plan::{Fixed, OutputPlan};
use crate::raw::Value;
use crate::release;
use crate::runtime::Runtime;
use crate::strings::Scratch;

/// Outputs that ONNX Runtime allocated are copied up to this many bytes.
const COPIED_BYTES: usize = 4096;

/// Room is zeroed up to this many bytes, which costs next to nothing. 32 kB would cost a small model a
/// tenth of its time, and only custom operators are known to leave outputs unwritten.
const ZEROED_BYTES: usize = 4096;

/// Outputs of the execution at hand, in the form `Run` takes.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// Point into the plan.
    pub(crate) names: Vec<*const c_char>,
    /// `None` where ONNX Runtime allocates; it stores what it made.
    pub(crate) values: Vec<Option<Value>>,
    /// Positions in the plan.
    wanted: Vec<usize>,
    /// Memory that the values borrow, and its length once it is written.
    buffers: Vec<Option<HostRoom>>,
    strings: Scratch,
}

impl Outputs {
    /// Lists the outputs that any request of `batch` wants, and with `preallocate` makes room for those
    /// whose size is known.
    ///
    /// # Errors
    /// There is not enough memory, or ONNX Runtime refuses a value.
    pub(crate) fn prepare(&mut self, loaded: &Loaded, batch: &Batch<'_>, preallocate: bool) -> Result<()> {
        self.clear();
        for (position, output) in loaded.plan.outputs.iter().enumerate() {
            if !batch.wants(output.index) {
                continue;
            }
            let fixed = output.fixed.as_ref().filter(|_| preallocate);
            let (value, buffer) = match fixed {
                Some(fixed) => {
                    let (value, buffer) = host_room(loaded, output, fixed, batch)?;
                    (Some(value), Some(buffer))
                }
                None => (None, None),
            };
            self.wanted.push(position);
            self.names.push(output.name.as_ptr());
            self.values.push(value);
            self.buffers.push(buffer);
        }
        Ok(())
    }

    /// Whether any output has its room already.
    pub(crate) fn preallocated(&self) -> bool {
        self.buffers.iter().any(Option::is_some)
    }

    /// The outputs after a run that succeeded.
    ///
    /// # Errors
    /// The graph gave something other than it declares.
    pub(crate) fn take(&mut self, loaded: &Arc<Loaded>, inputs: &Inputs) -> Result<Vec<OutputTensor>> {
        let mut tensors = Vec::with_capacity(self.wanted.len());
        let written = self.values.iter_mut().zip(&mut self.buffers);
        for (position, (value, buffer)) in self.wanted.iter().zip(written) {
            let output = &loaded.plan.outputs[*position];
            let value = value.take().ok_or_else(|| {
                Error::internal(format!("output tensor '{}' is not found", output.shown_name))
            })?;
            let shape = shape_of(loaded.runtime, &value, output)?;
            let data = match buffer.take() {
                Some(room) => {
                    drop(value);
                    // SAFETY: the run, which succeeded, wrote all.
                    unsafe { room.into_bytes() }
                }
                None if output.datatype == DataType::Bytes => {
                    let count = element_count(&shape).ok_or_else(|| odd_shape(output, &shape))?;
                    self.strings.read(loaded.runtime, &value, count)?
                }
                None => hand_out(loaded, &inputs.borrowed, output, value, &shape)?,
            };
            let shape = output.shown_shape(&shape)?;
            tensors.push(OutputTensor {
                name: output.shown_name.clone(),
                datatype: output.datatype,
                shape,
                data,
            });
        }
        Ok(tensors)
    }

    /// Releases what is left of the execution.
    pub(crate) fn clear(&mut self) {
        self.values.clear(); // before the buffers, which they borrow
        self.buffers.clear();
        self.names.clear();
        self.wanted.clear();
    }
}

/// Memory for an output, to be written by a run.
#[derive(Debug)]
pub(crate) struct HostRoom {
    /// Has room for `length`.
    data: Vec<u8>,
    length: usize,
}

impl HostRoom {
    /// What a run has written.
    ///
    /// # Safety
    /// A run has succeeded for which it was bound, and thus wrote all, as ONNX's operators do; where others may have run,
    /// all was zeroed before.
    pub(crate) unsafe fn into_bytes(self) -> Bytes {
        let Self { mut data, length } = self;
        // SAFETY: the capacity is at least `length`, and the caller promises that all is written.
        unsafe { data.set_len(length) };
        Bytes::from(data)
    }
}

/// Shape and bytes of an output of `batch` whose size is known.
///
/// # Errors
/// There is no such size.
pub(crate) fn size(output: &OutputPlan, fixed: &Fixed, batch: &Batch<'_>) -> Result<(Shape, usize)> {
    let mut shape = fixed.shape.clone();
    let rows = if output.is_batched() { batch.size() } else { 1 };
    if output.is_batched() {
        shape[0] = i64::try_from(rows).unwrap_or(i64::MAX);
    }
    let length = rows.checked_mul(fixed.row_bytes).ok_or_else(|| no_memory(output, rows))?;
    Ok((shape, length))
}

fn no_memory(output: &OutputPlan, rows: usize) -> Error {
    Error::internal(format!("no memory for output '{}' of {rows} rows", output.shown_name))
}

/// Memory for one output of `batch`, and a value over it.
///
/// # Errors
/// There is not enough memory, or ONNX Runtime refuses the value.
pub(crate) fn host_room(
    loaded: &Loaded,
    output: &OutputPlan,
    fixed: &Fixed,
    batch: &Batch<'_>,
) -> Result<(Value, HostRoom)> {
    let (shape, length) = size(output, fixed, batch)?;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(length).map_err(|_| no_memory(output, batch.size()))?;
    // What an operator leaves unwritten must not show what the memory held before.
    if length <= ZEROED_BYTES || loaded.plan.custom_operators {
        buffer.resize(length, 0);
    }
    // SAFETY: the buffer has room for `length` bytes, goes with the value, and is not touched before the
    // value is gone.
    let value = unsafe { borrow(loaded.runtime, buffer.as_mut_ptr(), length, &shape, output.element) }?;
    Ok((value, HostRoom { data: buffer, length }))
}

/// Memory that ONNX Runtime allocated, as response data.
///
/// # Errors
/// The shape is impossible.
pub(crate) fn hand_out(
    loaded: &Arc<Loaded>,
    borrowed: &Borrowed,
    output: &OutputPlan,
    value: Value,
    shape: &[i64],
) -> Result<Bytes> {
    let length = byte_size(output.datatype, shape).ok_or_else(|| odd_shape(output, shape))?;
    if length == 0 {
        return Ok(Bytes::new());
    }
    let api = loaded.runtime.api;
    let mut data = std::ptr::null_mut();
    // SAFETY: the value lives and is a tensor of numbers.
    check(api, unsafe { (api.GetTensorMutableData)(value.as_ptr(), &mut data) })?;
    let data: *const u8 = data.cast();
    // An output that the graph passes on from an input still lies in the request's memory.
    if length <= COPIED_BYTES || borrowed.contain(data.addr()) {
        // SAFETY: the tensor has `length` bytes; they are copied before it goes away.
        return Ok(Bytes::copy_from_slice(unsafe { std::slice::from_raw_parts(data, length) }));
    }
    Ok(Bytes::from_owner(Tensor {
        data,
        length,
        value: ManuallyDrop::new(value),
        loaded: ManuallyDrop::new(loaded.clone()),
    }))
}

/// A tensor that lives on as response data.
struct Tensor {
    data: *const u8,
    length: usize,
    value: ManuallyDrop<Value>,
    /// The value may lie in memory of the session, and must go first.
    loaded: ManuallyDrop<Arc<Loaded>>,
}

impl Drop for Tensor {
    fn drop(&mut self) {
        // SAFETY: this is the only place that drops it, and its last use.
        unsafe { ManuallyDrop::drop(&mut self.value) };
        // SAFETY: as above.
        let loaded = unsafe { ManuallyDrop::take(&mut self.loaded) };
        // The model may be gone by now, and this may be a thread that serves requests.
        release::off_thread(loaded);
    }
}

// SAFETY: the memory belongs to the value, which may be released on any thread.
unsafe impl Send for Tensor {}

impl AsRef<[u8]> for Tensor {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the tensor has `length` bytes that nobody writes to while the value lives.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

/// The shape of `value`, which must have the type that the config gives `output`.
///
/// # Errors
/// It has another.
pub(crate) fn shape_of(runtime: &Runtime, value: &Value, output: &OutputPlan) -> Result<Shape> {
    let api = runtime.api;
    let (mut element, mut dims, mut rank) = (0_i32, std::ptr::null(), 0);
    let read = api.GetTensorElementTypeAndShapeDataReference;
    // SAFETY: the value lives; the C enum is an `i32`; the others are places for pointer and length.
    check(api, unsafe { read(value.as_ptr(), (&raw mut element).cast(), &mut dims, &mut rank) })?;
    if element != output.element as i32 {
        return Err(Error::internal(format!(
            "output '{}' came with the onnx runtime data type {element}, expected {}",
            output.shown_name, output.datatype
        )));
    }
    if rank == 0 {
        return Ok(Shape::new());
    }
    // SAFETY: `dims` points to `rank` numbers that live as long as the value; they are copied here.
    Ok(Shape::from_slice(unsafe { std::slice::from_raw_parts(dims, rank) }))
}

pub(crate) fn odd_shape(output: &OutputPlan, shape: &[i64]) -> Error {
    Error::internal(format!("output '{}' has the impossible shape {}", output.shown_name, Dims(shape)))
}
