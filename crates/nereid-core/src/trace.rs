//! Watching requests on their way through a scheduler. Schedulers tell; what becomes of it is not known here.

use std::fmt;
use std::sync::Arc;

use crate::{InferResponse, ModelConfig, Result, ValidRequest};

/// The trace of a request on whose behalf others are made: one to an ensemble. Triton's `InferenceTrace`.
pub trait InferTrace: fmt::Debug + Send + Sync {
    /// Begins the trace of `request`, a step of this one, which is about to be queued at `version` of `model`.
    fn child(&self, model: &Arc<ModelConfig>, version: u64, request: &ValidRequest) -> Arc<dyn InferTrace>;

    /// The model has answered this request, or has not.
    fn ended(&self, answer: &Result<InferResponse>);
}
