//! Outputs of a batch that lie on a GPU, given to the requests: to the places there that they name, else to host memory.

#![allow(unsafe_code, reason = "copies on a stream are by address")]

use bytes::Bytes;
use nereid_core::backend::Outputs;
use nereid_core::batch::{Batch, split};
use nereid_core::{Error, OutputTensor, Result, ValidRequest};

use super::area::Area;
use super::download::{Download, Landing};
use super::memory::StagingMemory;
use super::part::Part;
use super::place::{send, wanted};
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
    let mut areas: Vec<_> = areas.iter_mut().map(Some).collect();
    let mut going = Vec::with_capacity(outputs.len());
    let started: Result<()> = outputs.into_iter().try_for_each(|output| {
        let going_on = match output {
            Produced::OnHost(tensor) => Going::done(Form::Whole(Part { tensor, fetched: None })),
            Produced::InPlace(tensor) => {
                Going::done(Form::ByRequest(vec![Some(Part { tensor, fetched: None })]))
            }
            Produced::OnDevice(output) => {
                let area = areas.get_mut(output.area).and_then(Option::take);
                let staging = area.and_then(|area| area.staging.as_mut());
                // SAFETY: the caller promises it; the stream is waited for below.
                unsafe { start(batch, output, staging, stream) }?
            }
        };
        going.push(going_on);
        Ok(())
    });
    let ended = stream.synchronize();
    started?;
    ended?;
    let mut whole = Vec::with_capacity(going.len());
    let mut parts = Vec::new();
    for (position, Going { form, landing }) in going.into_iter().enumerate() {
        // SAFETY: the stream, which has all copies, was waited for.
        let data = landing.map_or_else(|| Ok(Bytes::new()), |landing| unsafe { landing.arrived() })?;
        match form {
            Form::Whole(part) => whole.push(part.with(&data)),
            Form::ByRequest(of) => {
                let with_data = |part: Option<Part>| part.map(|part| part.with(&data));
                parts.push((position, of.into_iter().map(with_data).collect()));
            }
        }
    }
    if parts.is_empty() {
        return Ok(Outputs::Batch(whole));
    }
    by_request(batch, whole, parts)
}

/// An output on its way.
struct Going<'g> {
    form: Form,
    /// Where what goes to the host arrives, if anything does.
    landing: Option<Landing<'g>>,
}

enum Form {
    Whole(Part),
    /// `None` for a request that does not want the output.
    ByRequest(Vec<Option<Part>>),
}

impl Going<'_> {
    fn done(form: Form) -> Self {
        Self { form, landing: None }
    }
}

/// # Safety
/// As for [`scatter`], for one output.
unsafe fn start<'g>(
    batch: &Batch<'_>,
    output: OnDevice,
    staging: Option<&'g mut StagingMemory>,
    stream: &'g Stream,
) -> Result<Going<'g>> {
    let mut download = Download::default();
    // SAFETY: the caller promises it.
    let form = unsafe { divide(batch, output, stream, &mut download) }?;
    if download.is_empty() {
        return Ok(Going::done(form));
    }
    // SAFETY: as above.
    let landing = unsafe { download.start(stream, staging) }?;
    Ok(Going { form, landing: Some(landing) })
}

/// Puts copies to places of requests into `stream`, and the others into `download`.
///
/// # Safety
/// As for [`start`].
unsafe fn divide(
    batch: &Batch<'_>,
    output: OnDevice,
    stream: &Stream,
    download: &mut Download,
) -> Result<Form> {
    let OnDevice { tensor, index, address, byte_size, .. } = output;
    let mut fetch = |tensor, from, byte_size| {
        if byte_size == 0 {
            return Ok(Part { tensor, fetched: None });
        }
        let at = download.place(byte_size)?;
        download.fetch(from, at, byte_size);
        Ok::<_, Error>(Part { tensor, fetched: Some(at..at + byte_size) })
    };
    let device = &**stream.device();
    let row_bytes = row_bytes(batch, &tensor, byte_size);
    let size = |request: &ValidRequest| request.inference_count() * row_bytes.unwrap_or(0);
    let has_place = |request: &&ValidRequest| {
        wanted(request, index, device).is_some_and(|place| size(request) <= place.byte_size)
    };
    if row_bytes.is_none() || !batch.requests().iter().any(has_place) {
        return fetch(tensor, address, byte_size).map(Form::Whole);
    }
    let mut parts = Vec::with_capacity(batch.requests().len());
    let mut from = address;
    for request in batch.requests() {
        let (start, bytes) = (from, size(request));
        from += bytes as u64;
        if !request.wants(index) {
            parts.push(None);
            continue;
        }
        let mut part = tensor.clone();
        if batch.config().batches() {
            part.shape[0] = i64::from(request.batch_size());
        }
        let is_sent = match wanted(request, index, device) {
            // SAFETY: the request keeps its place, and the caller vouches for the output.
            Some(place) => unsafe { send(place, start, bytes, stream) }?,
            None => false,
        };
        let part = if is_sent { Part { tensor: part, fetched: None } } else { fetch(part, start, bytes)? };
        parts.push(Some(part));
    }
    Ok(Form::ByRequest(parts))
}

/// Bytes of a row, or of the whole output of a model that does not batch. `None` when it has too few rows.
fn row_bytes(batch: &Batch<'_>, tensor: &OutputTensor, byte_size: usize) -> Option<usize> {
    if !batch.config().batches() {
        return Some(byte_size);
    }
    let rows = usize::try_from(*tensor.shape.first()?).ok().filter(|rows| *rows >= batch.size())?;
    byte_size.checked_div(rows)
}

/// Puts together what each request gets: its rows of what is `whole`, and its parts, which are at these positions among all
/// outputs.
fn by_request(
    batch: &Batch<'_>,
    whole: Vec<OutputTensor>,
    mut parts: Vec<(usize, Vec<Option<OutputTensor>>)>,
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
                outputs.extend(parts.get_mut(at).and_then(Option::take));
            } else if let Some(name) = names.next() {
                outputs.extend(rows.next_if(|tensor| tensor.name == *name)); // it may not want it
            }
        }
        each.push(outputs);
    }
    Ok(Outputs::Each(each))
}
