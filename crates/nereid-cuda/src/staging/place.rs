//! Places on a GPU that requests give for their outputs: which may be written by a run itself.

use nereid_core::batch::Batch;
use nereid_core::{DeviceSlice, ValidRequest};

use super::ALIGNMENT;
use crate::Device;

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
    let fits = byte_size <= place.byte_size && place.address.is_multiple_of(ALIGNMENT);
    let is_free = !request.inputs().iter().filter_map(|input| input.device.as_deref()).any(overlaps);
    (fits && is_free).then_some(place)
}

/// Whether any request of `batch` gives a place on `device` for the output at `index`.
pub fn is_asked_for(batch: &Batch<'_>, index: usize, device: &dyn Device) -> bool {
    batch.requests().iter().any(|request| wanted(request, index, device).is_some())
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
