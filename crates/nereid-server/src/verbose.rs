//! What `--log-verbose` says of each request: from level 1 on its outcome and where its time went, from level 2 on its
//! tensors. Switched off it costs a load. Names and ids come from clients; the log quotes what it writes.

use std::fmt;

use nereid_core::shape::Dims;
use nereid_core::{InferRequest, InferResponse, Result};
use nereid_repository::ModelVersion;
use tracing::Level;

/// What is said of one request, if anybody listens.
pub(crate) struct Verbose(Option<Box<About>>);

struct About {
    request: String,
    model: String,
    version: u64,
}

impl Verbose {
    /// Says what `request` asks of `model`.
    pub(crate) fn of(model: &ModelVersion, request: &InferRequest) -> Self {
        if !tracing::event_enabled!(Level::DEBUG) {
            return Self(None);
        }
        let id = if request.id.is_empty() { "<id_unknown>" } else { &request.id };
        let about =
            About { request: id.to_owned(), model: model.id.name.to_string(), version: model.version };
        tracing::trace!("{about}: {}", Asked(request));
        Self(Some(Box::new(about)))
    }

    /// Says what came of it.
    pub(crate) fn answered(self, answer: &Result<InferResponse>) {
        let Some(about) = self.0 else { return };
        match answer {
            Ok(response) => {
                let timing = &response.timing;
                tracing::debug!(
                    "{about}: queued {} us, input {} us, infer {} us, output {} us",
                    timing.compute_start.ns_since(timing.queue_start) / 1000,
                    timing.inputs_ready.ns_since(timing.compute_start) / 1000,
                    timing.compute_done.ns_since(timing.inputs_ready) / 1000,
                    timing.compute_end.ns_since(timing.compute_done) / 1000,
                );
            }
            Err(error) => tracing::debug!("{about}: Infer failed: {}", error.message()),
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, model, version } = self;
        write!(f, "[request id: {request}] model '{model}', version {version}")
    }
}

/// The tensors of a request, without their data.
struct Asked<'a>(&'a InferRequest);

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("inputs")?;
        let on_device = |at| self.0.device.as_ref()?.inputs.iter().find(|(input, _)| *input == at);
        for (at, input) in self.0.inputs.iter().enumerate() {
            write!(f, " '{}' {}{} ", input.name, input.datatype, Dims(&input.shape))?;
            match on_device(at) {
                None => write!(f, "{} bytes", input.data.len())?,
                Some((_, slice)) => write!(f, "{} bytes on GPU {}", slice.byte_size, slice.device)?,
            }
        }
        f.write_str(if self.0.outputs.is_empty() { "; all outputs" } else { "; outputs" })?;
        self.0.outputs.iter().try_for_each(|output| write!(f, " '{output}'"))
    }
}
