//! A batch of requests, gathered into one tensor per input and split into one response per request.

mod batch_input;
mod concat;
mod split;

pub use batch_input::batch_input;
pub use concat::{Gathered, concat, gathered_shape};
pub use split::split;

use crate::{ModelConfig, ValidRequest};

/// Requests that run together. Never empty; all have the inputs of the first one, in shapes
/// that differ only where an input is ragged.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    config: &'a ModelConfig,
    requests: &'a [&'a ValidRequest],
}

impl<'a> Batch<'a> {
    /// A batch of `requests` to the model of `config`.
    pub fn new(config: &'a ModelConfig, requests: &'a [&'a ValidRequest]) -> Self {
        Self { config, requests }
    }

    /// Config of the model.
    pub fn config(&self) -> &'a ModelConfig {
        self.config
    }

    /// The requests, in the order in which they were queued.
    pub fn requests(&self) -> &'a [&'a ValidRequest] {
        self.requests
    }

    /// Rows over all requests; for a model that does not batch, 1.
    pub fn size(&self) -> usize {
        self.requests.iter().map(|r| r.inference_count()).sum()
    }

    /// Whether any request wants the output at `index` of the config, or the next request of its sequence does.
    pub fn wants(&self, index: usize) -> bool {
        self.requests.iter().any(|r| r.wants(index)) || self.config.states().iter().any(|s| s.output == index)
    }
}
