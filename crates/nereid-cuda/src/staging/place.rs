//! Places on a GPU that requests give for their outputs: which may be written by a run itself, and copies to the others.

#![allow(unsafe_code, reason = "copies on a stream are by address")]

use nereid_core::batch::Batch;
use nereid_core::{DeviceSlice, ValidRequest};

use super::ALIGNMENT;
use crate::{Device, Result, Stream};

/// Where the run of `batch` may write all `byte_size` bytes of the output at `index` itself: the place of its only request.
/// `None` where there is no such place on `device`, it is too small or ill-placed, or an input of the request lies there,
/// which a run may read until its end.
pub fn place<'b>(
    batch: &Batch<'b>,
    index: usize,
    byte_size: usize,
    device: &dyn Device,
) -> Option<&'b DeviceSlice> {
    let [request] = batch.requests() else { return None };
    let place = wanted(request, index, device)?;
    let overlaps = |input: &DeviceSlice| {
        let (start, end) = (place.address, place.address.saturating_add(byte_size as u64));
        input.address < end && start < input.address.saturating_add(input.byte_size as u64)
    };
    let fits = byte_size <= place.byte_size && place.address.is_multiple_of(ALIGNMENT as u64);
    let is_free = !request.inputs().iter().filter_map(|input| input.device.as_deref()).any(overlaps);
    (fits && is_free).then_some(place)
}

/// Whether any request of `batch` gives a place on `device` for the output at `index`.
pub fn is_asked_for(batch: &Batch<'_>, index: usize, device: &dyn Device) -> bool {
    batch.requests().iter().any(|request| wanted(request, index, device).is_some())
}

/// Copies `byte_size` bytes at `from` to `place` if they fit there, and says whether they do.
///
/// # Errors
/// The driver fails.
///
/// # Safety
/// The bytes at `from`, on the GPU of `stream`, and the place are there until what is in `stream` has ended.
pub unsafe fn send(place: &DeviceSlice, from: u64, byte_size: usize, stream: &Stream) -> Result<bool> {
    if byte_size > place.byte_size {
        return Ok(false);
    }
    if byte_size > 0 {
        // SAFETY: so many bytes are on both sides, and the caller keeps them.
        unsafe { stream.device().copy_on_device(place.address, from, byte_size, stream.raw()) }?;
    }
    Ok(true)
}

/// The place on `device` that `request` gives for the output at `index`, which it wants.
pub(super) fn wanted<'r>(
    request: &'r ValidRequest,
    index: usize,
    device: &dyn Device,
) -> Option<&'r DeviceSlice> {
    let place = request.device_output(index)?;
    (request.wants(index) && place.device == device.info().ordinal).then_some(place)
}
