//! One input of every request, in one piece on a GPU.

#![allow(unsafe_code, reason = "copies on a stream are by address")]

use nereid_core::batch::{Batch, gathered_shape};
use nereid_core::{DeviceSlice, Error, Result, Shape};

use super::upload::{Source, Upload};
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
/// row (in pieces if it is long), through page-locked memory if the area has a pool, and one for each tensor that is on the
/// GPU. With `as_it_lies`, what a single request has on the GPU is not copied. `None` when the requests leave the (optional) input out.
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
    if let Some(slice) = as_it_lies.then(|| lying(batch, index, ordinal)).flatten() {
        return Ok(Some(Gathered { shape, address: slice.address, byte_size: slice.byte_size }));
    }
    let byte_size = inputs().map(|input| Source::from(input).byte_size()).sum();
    let has_host_data = inputs().any(|input| !input.data.is_empty());
    // SAFETY: the caller promises it.
    let address = unsafe { fill(area, byte_size, has_host_data, inputs().map(Source::from), stream) }?;
    Ok(Some(Gathered { shape, address, byte_size }))
}

/// The memory of the only request's input `index`, if it is on GPU `ordinal` and lies as kernels may expect.
pub fn lying<'b>(batch: &Batch<'b>, index: usize, ordinal: i32) -> Option<&'b DeviceSlice> {
    let [request] = batch.requests() else { return None };
    let slice = request.input(index)?.device.as_deref()?;
    (slice.device == ordinal && slice.address.is_multiple_of(ALIGNMENT as u64)).then_some(slice)
}

/// Puts `data` into `area` and gives its address.
///
/// # Errors
/// The GPU has no memory left.
///
/// # Safety
/// As for [`gather`], with `data` in place of the batch.
pub unsafe fn put(area: &mut Area, data: &[u8], stream: &Stream) -> Result<u64> {
    // SAFETY: the caller promises it.
    unsafe { fill(area, data.len(), !data.is_empty(), [Source::Host(data)], stream) }
}

/// # Safety
/// As for [`gather`], with `sources`, of `byte_size` bytes, in place of the batch.
unsafe fn fill<'s>(
    area: &mut Area,
    byte_size: usize,
    has_host_data: bool,
    sources: impl IntoIterator<Item = Source<'s>>,
    stream: &Stream,
) -> Result<u64> {
    let address = area.on_device(byte_size)?;
    let staging = area.staging.as_mut().filter(|_| has_host_data);
    let staging = staging.map(|staging| staging.reserve(byte_size));
    // SAFETY: the caller keeps the area, which has so many bytes in both memories, and what the sources point to.
    let mut upload = unsafe { Upload::new(stream, address, byte_size, staging) };
    upload.put_all(0, sources)?;
    upload.finish()?;
    Ok(address)
}
