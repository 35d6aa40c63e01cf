//! One input of every request, in one piece on a GPU.

#![allow(unsafe_code, reason = "copies on a stream are by address")]

use nereid_core::batch::{Batch, gathered_shape};
use nereid_core::{Error, Result, Shape, ValidInput};

use super::{ALIGNMENT, Area};
use crate::Stream;

/// An input of a batch on a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// As [`nereid_core::batch::Gathered::shape`].
    pub shape: Shape,
    pub address: u64,
    pub byte_size: usize,
}

/// Puts input `index` of `batch` into `area`, by copies on `stream`: one for all data that comes from host memory in a
/// row, through page-locked memory if the area has a pool, and one for each tensor that is on the GPU. With `as_it_lies`,
/// what a single request has on the GPU is not copied. `None` when the requests leave the (optional) input out.
///
/// # Errors
/// Requests disagree on the input's presence or shape; a tensor is on another GPU; the GPU has no memory left.
///
/// # Safety
/// `stream` is of the area's GPU. Until it has been waited for, also after an error, the batch and the area are there, and
/// nothing else is put into the area.
pub unsafe fn gather(
    area: &mut Area,
    batch: &Batch<'_>,
    index: usize,
    as_it_lies: bool,
    stream: &Stream,
) -> Result<Option<Gathered>> {
    let Some(shape) = gathered_shape(batch, index)? else { return Ok(None) };
    let inputs = || batch.requests().iter().filter_map(|request| request.input(index));
    let ordinal = area.device().info().ordinal;
    if let Some(slice) =
        inputs().filter_map(|input| input.device.as_deref()).find(|slice| slice.device != ordinal)
    {
        let name = batch.config().all_inputs().nth(index).map_or("", |input| &input.name);
        return Err(Error::internal(format!(
            "input '{name}' is on GPU {}, and the model on GPU {ordinal}",
            slice.device
        )));
    }
    if as_it_lies
        && let [request] = batch.requests()
        && let Some(slice) = request.input(index).and_then(|input| input.device.as_deref())
        && slice.address.is_multiple_of(ALIGNMENT)
    {
        return Ok(Some(Gathered { shape, address: slice.address, byte_size: slice.byte_size }));
    }
    let byte_size = inputs().map(size).sum();
    let address = area.on_device(byte_size)?;
    let from_host: usize = inputs().map(|input| input.data.len()).sum();
    let has_pool = from_host > 0 && area.pinned(from_host).is_some();
    let mut copies = Copies { area, stream, to: address, staged: 0, pending: 0, has_pool };
    for input in inputs() {
        // SAFETY: the caller promises it.
        unsafe { copies.add(input) }?;
    }
    // SAFETY: as above.
    unsafe { copies.flush() }?;
    Ok(Some(Gathered { shape, address, byte_size }))
}

/// Puts `data` into `area` and gives its address.
///
/// # Errors
/// The GPU has no memory left.
///
/// # Safety
/// As for [`gather`], with `data` in place of the batch.
pub unsafe fn put(area: &mut Area, data: &[u8], stream: &Stream) -> Result<u64> {
    let to = area.on_device(data.len())?;
    let has_pool = !data.is_empty() && area.pinned(data.len()).is_some();
    let mut copies = Copies { area, stream, to, staged: 0, pending: 0, has_pool };
    // SAFETY: the caller promises it.
    unsafe { copies.add_host(data) }?;
    // SAFETY: as above.
    unsafe { copies.flush() }?;
    Ok(to)
}

fn size(input: &ValidInput) -> usize {
    input.device.as_ref().map_or(input.data.len(), |slice| slice.byte_size)
}

/// Copies to one piece of memory, the next of which goes to `to`.
struct Copies<'a> {
    area: &'a mut Area,
    stream: &'a Stream,
    to: u64,
    /// Bytes in the page-locked memory.
    staged: usize,
    /// Of those, at the end, the ones that are not on their way yet.
    pending: usize,
    has_pool: bool,
}

impl Copies<'_> {
    /// # Safety
    /// The tensor stays where it is until the stream has been waited for.
    unsafe fn add(&mut self, input: &ValidInput) -> Result<()> {
        let Some(slice) = input.device.as_deref() else {
            // SAFETY: the caller promises it.
            return unsafe { self.add_host(&input.data) };
        };
        // SAFETY: as above.
        unsafe { self.flush() }?;
        if slice.byte_size > 0 {
            let (device, stream) = (self.stream.device(), self.stream.raw());
            // SAFETY: the slice keeps its memory, and there is room for all tensors.
            unsafe { device.copy_on_device(self.to, slice.address, slice.byte_size, stream) }?;
        }
        self.to += slice.byte_size as u64;
        Ok(())
    }

    /// # Safety
    /// As for [`Self::add`].
    unsafe fn add_host(&mut self, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        if self.has_pool
            && let Some(memory) = self.area.pinned(0)
        {
            memory.as_mut_slice()[self.staged..self.staged + data.len()].copy_from_slice(data);
            self.staged += data.len();
            self.pending += data.len();
            return Ok(());
        }
        let (device, stream) = (self.stream.device(), self.stream.raw());
        // SAFETY: the caller keeps the data, and there is room for all tensors.
        unsafe { device.copy_to_device(self.to, data.as_ptr(), data.len(), stream) }?;
        self.to += data.len() as u64;
        Ok(())
    }

    /// Sends what is staged on its way.
    ///
    /// # Safety
    /// As for [`Self::add`].
    unsafe fn flush(&mut self) -> Result<()> {
        let (count, start) = (self.pending, self.staged - self.pending);
        let Some(memory) = self.area.pinned(0).filter(|_| count > 0) else { return Ok(()) };
        let from = memory.as_slice()[start..].as_ptr();
        let (device, stream) = (self.stream.device(), self.stream.raw());
        // SAFETY: the caller keeps the area and what is in it, and there is room for all tensors.
        unsafe { device.copy_to_device(self.to, from, count, stream) }?;
        self.to += count as u64;
        self.pending = 0;
        Ok(())
    }
}
