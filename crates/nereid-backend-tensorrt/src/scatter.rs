//! The outputs of a batch: how each request gets its part.
//!
//! Outputs lie one behind the other on the GPU and go to the host in one copy, from which responses are sliced. A request
//! that gives a place on a GPU for an output gets its part copied there, and no data.

use bytes::Bytes;
use nereid_core::backend::Outputs as Delivered;
use nereid_core::batch::{Batch, split};
use nereid_core::{Error, InferResponse, OutputTensor, Result, ValidRequest};
use nereid_cuda::staging::{Download, OutputStreams, Part, StagingMemory, send};

use crate::output::{Output, Place};
use crate::plan::{OutputPlan, Plan};
use crate::shape_tensor::{self, HostMemory};
use crate::streams::Streams;

/// What of the outputs of an execution goes to whom.
#[derive(Debug)]
pub(crate) struct Delivery<'d> {
    pub(crate) plan: &'d Plan,
    pub(crate) batch: &'d Batch<'d>,
    /// By the position in the plan.
    pub(crate) outputs: &'d [Output],
    /// Values of shape tensors, likewise.
    pub(crate) host: &'d [HostMemory],
    pub(crate) streams: &'d Streams,
}

/// An output that somebody wants, and its place in host memory.
struct Wanted<'d> {
    plan: &'d OutputPlan,
    output: &'d Output,
    /// Its values, if it is a shape tensor.
    host: &'d HostMemory,
    at: usize,
}

impl<'d> Delivery<'d> {
    /// Starts the copies that the execution, which is in its stream, makes possible, and waits for all. `computed` is called
    /// when the execution has ended.
    ///
    /// # Errors
    /// The execution or a copy failed, there is no memory, or the engine broke a promise.
    ///
    /// # Safety
    /// The outputs are there, and neither they nor the batch are touched, until the streams have ended: also when this fails.
    pub(crate) unsafe fn run(
        &self,
        staging: Option<&mut StagingMemory>,
        computed: impl FnOnce(),
    ) -> Result<Delivered> {
        let mut download = Download::default();
        let wanted = self.wanted(&mut download)?;
        if self.is_by_request(&wanted) {
            // What goes where depends on how the outputs are split, and the values of shape tensors have a say in that.
            self.streams.wait_for_execution()?;
            computed();
            // SAFETY: the caller answers for outputs and batch.
            return unsafe { self.by_request(&wanted, &mut download, staging) };
        }
        for wanted in &wanted {
            if let Some(address) = wanted.output.address() {
                download.fetch(address, wanted.at, wanted.output.byte_size);
            }
        }
        // SAFETY: as above.
        let landing = unsafe { download.start(self.streams, staging) }?;
        self.streams.wait_for_execution()?;
        computed();
        let data = landing.wait()?;
        let tensor = |wanted: &Wanted<'d>| self.tensor(wanted, &data, false);
        Ok(Delivered::Batch(wanted.iter().map(tensor).collect::<Result<_>>()?))
    }

    /// The outputs that any request wants, with places in host memory.
    fn wanted(&self, download: &mut Download) -> Result<Vec<Wanted<'d>>> {
        let mut all = Vec::with_capacity(self.outputs.len());
        for ((plan, output), host) in self.plan.outputs.iter().zip(self.outputs).zip(self.host) {
            if self.batch.wants(plan.index) {
                let at = match output.place {
                    Place::Host => 0,
                    Place::Device(_) => download.place(output.byte_size)?,
                    Place::Allocated(_) => {
                        // It has memory of its own.
                        download.cut()?;
                        let at = download.place(output.byte_size)?;
                        download.cut()?;
                        at
                    }
                };
                all.push(Wanted { plan, output, host, at });
            }
        }
        Ok(all)
    }

    /// Whether slices of host memory are not all that requests get.
    fn is_by_request(&self, wanted: &[Wanted<'_>]) -> bool {
        let has_place = |request: &&ValidRequest| {
            wanted.iter().any(|wanted| request.device_output(wanted.plan.index).is_some())
        };
        // Rows of a padded layout are longer than their shape says.
        wanted.iter().any(|wanted| wanted.plan.tensor.layout.is_some())
            || self.batch.requests().iter().any(has_place)
    }

    /// Gives each request its part, where it wants it.
    unsafe fn by_request(
        &self,
        wanted: &[Wanted<'d>],
        download: &mut Download,
        staging: Option<&mut StagingMemory>,
    ) -> Result<Delivered> {
        // Splitting looks at sizes alone: memory that is never touched shows what part of the outputs is whose.
        let map = Bytes::from(vec![0; download.byte_size()]);
        let tensors = wanted.iter().map(|wanted| self.tensor(wanted, &map, true));
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        let responses = split(self.batch, tensors)?;
        let mut parts: Vec<Vec<Part>> = Vec::with_capacity(responses.len());
        for (request, response) in self.batch.requests().iter().zip(responses) {
            let tensors = self.with_states(response)?;
            let mut of_request = Vec::with_capacity(tensors.len());
            for mut tensor in tensors {
                let wanted = wanted.iter().find(|wanted| wanted.plan.tensor.shown_name == tensor.name);
                let wanted = wanted.ok_or_else(|| Error::internal("an output vanished in its split"))?;
                self.restore_shape(wanted, &mut tensor)?;
                let fetched = match (wanted.output.address(), offset(&map, &tensor.data)) {
                    (Some(address), Some(at)) => {
                        let from = address + (at - wanted.at) as u64;
                        let byte_size = tensor.data.len();
                        // SAFETY: the caller answers for outputs and batch.
                        let is_sent = unsafe { self.send(request, wanted.plan, from, byte_size) }?;
                        tensor.data = Bytes::new(); // what shows its place
                        if is_sent {
                            None
                        } else {
                            download.fetch(from, at, byte_size);
                            Some(at..at + byte_size)
                        }
                    }
                    _ => None, // a shape tensor, or nothing at all
                };
                of_request.push(Part { tensor, fetched });
            }
            parts.push(of_request);
        }
        // SAFETY: as above.
        let data = unsafe { download.start(self.streams, staging) }?.wait()?;
        let whole = |parts: Vec<Part>| parts.into_iter().map(|part| part.with(&data)).collect();
        Ok(Delivered::Each(parts.into_iter().map(whole).collect()))
    }

    /// Copies a request's part of an output to the place that the request gives for it. Not if there is none or too little
    /// room, or if the next request of the sequence needs the data as well: then the data goes to the host.
    unsafe fn send(
        &self,
        request: &ValidRequest,
        plan: &OutputPlan,
        from: u64,
        byte_size: usize,
    ) -> Result<bool> {
        let is_state = self.batch.config().states().iter().any(|state| state.output == plan.index);
        let place = request.device_output(plan.index).filter(|_| !is_state);
        let Some(place) = place else { return Ok(false) };
        // SAFETY: so many bytes of the output are there, and like the place stay until the stream has ended.
        Ok(unsafe { send(place, from, byte_size, self.streams.output()) }?)
    }

    /// The outputs of `response`, and the states that it leaves behind if no output is them.
    fn with_states(&self, response: InferResponse) -> Result<Vec<OutputTensor>> {
        let InferResponse { mut outputs, states, .. } = response;
        let config = self.batch.config();
        for (state, kept) in config.states().iter().zip(states) {
            let output = config.all_outputs().nth(state.output);
            let output = output.ok_or_else(|| Error::internal("a state is no output"))?;
            if outputs.iter().all(|known| known.name != output.name) {
                outputs.push(OutputTensor {
                    name: output.name.clone(),
                    datatype: output.datatype,
                    shape: kept.shape,
                    data: kept.data,
                });
            }
        }
        Ok(outputs)
    }

    /// An output of the whole batch, of which `data` holds all. With `padded`, its shape is that of its memory.
    fn tensor(&self, wanted: &Wanted<'_>, data: &Bytes, padded: bool) -> Result<OutputTensor> {
        let Wanted { plan: OutputPlan { tensor, .. }, output, host, at } = wanted;
        let (name, datatype) = (&tensor.shown_name, tensor.datatype);
        if matches!(output.place, Place::Host) {
            return shape_tensor::output(self.batch, (name, datatype), &output.shape, host);
        }
        let shape = match tensor.layout {
            Some(layout) if padded => layout.padded(&output.shape).unwrap_or_else(|| output.shape.clone()),
            _ => wanted.plan.shown_shape(&output.shape)?,
        };
        // Of outputs that are all empty, nothing was fetched.
        let data = if output.byte_size == 0 { Bytes::new() } else { data.slice(*at..at + output.byte_size) };
        Ok(OutputTensor { name: name.clone(), datatype, shape, data })
    }

    /// Takes the padding out of the shape of a part.
    fn restore_shape(&self, wanted: &Wanted<'_>, part: &mut OutputTensor) -> Result<()> {
        if wanted.plan.tensor.layout.is_none() || wanted.plan.scattered {
            return Ok(());
        }
        let mut shape = wanted.output.shape.clone();
        if self.plan.batches
            && let (Some(rows), Some(own)) = (shape.first_mut(), part.shape.first())
        {
            *rows = *own;
        }
        part.shape = wanted.plan.shown_shape(&shape)?;
        Ok(())
    }
}

/// Where `part`, a slice of `whole`, starts in it. `None` if it is none, or empty.
fn offset(whole: &Bytes, part: &Bytes) -> Option<usize> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    (!part.is_empty() && start + part.len() <= whole.len()).then_some(start)
}
