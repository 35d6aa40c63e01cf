//! Outputs of a batch that lie on a GPU, given to the requests: to the places there that they name, else to host memory.

#![allow(unsafe_code, reason = "copies on a stream are by address")]

use std::ops::Range;

use bytes::Bytes;
use nereid_core::backend::Outputs;
use nereid_core::batch::{Batch, split};
use nereid_core::{OutputTensor, Result, ValidRequest};

use super::Area;
use super::place::wanted;
use crate::Stream;

/// An output of a whole batch after its run, in the shape that clients see.
#[derive(Debug)]
pub enum Produced {
    /// In host memory.
    OnHost(OutputTensor),
    OnDevice(OnDevice),
    /// Written to the place of the only request ([`super::place()`]); without data.
    InPlace(OutputTensor),
}

/// An output on a GPU.
#[derive(Debug)]
pub struct OnDevice {
    /// Without data.
    pub tensor: OutputTensor,
    /// That of the config.
    pub index: usize,
    pub address: u64,
    pub byte_size: usize,
    /// Of the areas, the one whose page-locked memory a copy to the host may use; no other output's.
    pub area: usize,
}

/// Gives `outputs`, which are in the order of the responses, to the requests of `batch`, by copies on `stream`: one for each
/// output that goes to host memory as a whole, one for each part where requests give places on the GPU that are large
/// enough. Waits for the end of `stream`.
///
/// # Errors
/// The run failed, or a copy; an output is not what its shape says.
///
/// # Safety
/// `stream` and `areas` are of the same GPU, and the outputs are there with all their bytes when what is in `stream` now has
/// ended. After an error, areas and outputs stay until the stream has been waited for.
pub unsafe fn scatter(
    batch: &Batch<'_>,
    outputs: Vec<Produced>,
    areas: &mut [Area],
    stream: &Stream,
) -> Result<Outputs> {
    let mut going = Vec::with_capacity(outputs.len());
    // SAFETY: the caller promises it; what is going is kept until the stream has been waited for.
    let started = unsafe { start(batch, outputs, areas, stream, &mut going) };
    let ended = stream.synchronize();
    started?;
    ended?;
    let mut whole = Vec::with_capacity(going.len());
    let mut parts = Vec::new();
    for (position, output) in going.into_iter().enumerate() {
        match output {
            Going::Whole(tensor, copied) => whole.push(copied.finish(tensor, areas)),
            Going::Parts(tensors) => parts.push((position, tensors)),
        }
    }
    if parts.is_empty() {
        return Ok(Outputs::Batch(whole));
    }
    by_request(batch, whole, parts, areas)
}

/// An output on its way.
enum Going {
    Whole(OutputTensor, Copied),
    Parts(Parts),
}

/// By request; `None` for one that does not want the output.
type Parts = Vec<Option<(OutputTensor, Copied)>>;

/// Where the data of a tensor is when the stream has ended.
enum Copied {
    /// In the tensor, or on the GPU for good.
    Done,
    /// In the page-locked memory of this area.
    Staged(usize, Range<usize>),
    Here(Vec<u8>),
}

impl Copied {
    fn finish(self, tensor: OutputTensor, areas: &[Area]) -> OutputTensor {
        let data = match self {
            Self::Done => return tensor,
            Self::Staged(area, range) => Bytes::copy_from_slice(&areas[area].copied()[range]),
            Self::Here(data) => data.into(),
        };
        OutputTensor { data, ..tensor }
    }
}

/// # Safety
/// As for [`scatter`]; `going` is kept until the stream has been waited for.
unsafe fn start(
    batch: &Batch<'_>,
    outputs: Vec<Produced>,
    areas: &mut [Area],
    stream: &Stream,
    going: &mut Vec<Going>,
) -> Result<()> {
    for output in outputs {
        match output {
            Produced::OnHost(tensor) => going.push(Going::Whole(tensor, Copied::Done)),
            Produced::InPlace(tensor) => going.push(Going::Parts(vec![Some((tensor, Copied::Done))])),
            // SAFETY: the caller promises it.
            Produced::OnDevice(output) => unsafe { send(batch, output, areas, stream, going) }?,
        }
    }
    Ok(())
}

/// # Safety
/// As for [`start`].
unsafe fn send(
    batch: &Batch<'_>,
    output: OnDevice,
    areas: &mut [Area],
    stream: &Stream,
    going: &mut Vec<Going>,
) -> Result<()> {
    let OnDevice { tensor, index, address, byte_size, area } = output;
    let output = Memory { address, byte_size, area };
    let device = stream.device();
    let to = |request: &ValidRequest, size: usize| {
        wanted(request, index, &**device).filter(|place| size <= place.byte_size).map(|place| place.address)
    };
    let row_bytes = row_bytes(batch, &tensor, byte_size);
    let size = |request: &ValidRequest| request.inference_count() * row_bytes.unwrap_or(0);
    let has_place = |request: &&ValidRequest| to(request, size(request)).is_some();
    if row_bytes.is_none() || !batch.requests().iter().any(has_place) {
        // SAFETY: the caller promises it.
        let copied = unsafe { to_host(areas, output, 0..byte_size, stream) }?;
        going.push(Going::Whole(tensor, copied));
        return Ok(());
    }
    going.push(Going::Parts(Parts::with_capacity(batch.requests().len())));
    let Some(Going::Parts(parts)) = going.last_mut() else { return Ok(()) };
    let mut at = 0;
    for request in batch.requests() {
        let range = at..at + size(request);
        at = range.end;
        if !request.wants(index) {
            parts.push(None);
            continue;
        }
        let mut part = tensor.clone();
        if batch.config().batches() {
            part.shape[0] = i64::from(request.batch_size());
        }
        let copied = match to(request, range.len()) {
            Some(to) => {
                let (from, bytes) = (address + range.start as u64, range.len());
                if bytes > 0 {
                    // SAFETY: the request keeps its place, which is large enough; the caller vouches for the output.
                    unsafe { device.copy_on_device(to, from, bytes, stream.raw()) }?;
                }
                Copied::Done
            }
            // SAFETY: the caller promises it.
            None => unsafe { to_host(areas, output, range, stream) }?,
        };
        parts.push(Some((part, copied)));
    }
    Ok(())
}

/// Bytes of a row, or of the whole output of a model that does not batch. `None` when it has too few rows.
fn row_bytes(batch: &Batch<'_>, tensor: &OutputTensor, byte_size: usize) -> Option<usize> {
    if !batch.config().batches() {
        return Some(byte_size);
    }
    let rows = usize::try_from(*tensor.shape.first()?).ok().filter(|rows| *rows >= batch.size())?;
    byte_size.checked_div(rows)
}

/// The memory of an output.
#[derive(Debug, Clone, Copy)]
struct Memory {
    address: u64,
    byte_size: usize,
    area: usize,
}

/// Copies these bytes of `output`.
///
/// # Safety
/// As for [`start`].
unsafe fn to_host(
    areas: &mut [Area],
    output: Memory,
    range: Range<usize>,
    stream: &Stream,
) -> Result<Copied> {
    if range.is_empty() {
        return Ok(Copied::Done);
    }
    let (from, count) = (output.address + range.start as u64, range.len());
    let device = stream.device();
    if let Some(memory) = areas[output.area].pinned(output.byte_size) {
        let to = memory.as_mut_slice()[range.clone()].as_mut_ptr();
        // SAFETY: the caller keeps the area, whose memory has all bytes of the output, and vouches for the output.
        unsafe { device.copy_to_host(to, from, count, stream.raw()) }?;
        return Ok(Copied::Staged(output.area, range));
    }
    let mut data = vec![0; count];
    // SAFETY: the caller keeps the buffer, which goes into `going`, and vouches for the output.
    unsafe { device.copy_to_host(data.as_mut_ptr(), from, count, stream.raw()) }?;
    Ok(Copied::Here(data))
}

/// Puts together what each request gets: its rows of what is `whole`, and its parts, which are at these positions among all
/// outputs.
fn by_request(
    batch: &Batch<'_>,
    whole: Vec<OutputTensor>,
    mut parts: Vec<(usize, Parts)>,
    areas: &[Area],
) -> Result<Outputs> {
    let count = whole.len() + parts.len();
    let names: Vec<_> = whole.iter().map(|tensor| tensor.name.clone()).collect();
    let responses = split(batch, whole)?;
    let mut each = Vec::with_capacity(responses.len());
    for (at, response) in responses.into_iter().enumerate() {
        let (mut rows, mut names) = (response.outputs.into_iter().peekable(), names.iter());
        let mut outputs = Vec::with_capacity(count);
        for position in 0..count {
            if let Some((_, parts)) = parts.iter_mut().find(|(part, _)| *part == position) {
                let part = parts.get_mut(at).and_then(Option::take);
                outputs.extend(part.map(|(tensor, copied)| copied.finish(tensor, areas)));
            } else if let Some(name) = names.next() {
                outputs.extend(rows.next_if(|tensor| tensor.name == *name)); // it may not want it
            }
        }
        each.push(outputs);
    }
    Ok(Outputs::Each(each))
}
