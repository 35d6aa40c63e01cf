//! How the tensors of an ensemble flow through the models that it is made of.

use std::sync::Arc;

/// `ensemble_scheduling` of a config, checked.
#[derive(Debug, Clone, Default)]
pub struct Ensemble {
    pub steps: Vec<EnsembleStep>,
    /// Requests under way in each step, of all requests to the ensemble together; 0 means no limit.
    pub max_inflight_requests: u32,
}

/// One model's part in an ensemble.
#[derive(Debug, Clone)]
pub struct EnsembleStep {
    /// Name of the model.
    pub model: Arc<str>,
    /// Repository that the model is from; empty where models go by their names alone.
    pub namespace: Arc<str>,
    /// `None` is the latest, whichever that is when a request comes.
    pub version: Option<u64>,
    pub inputs: Vec<Mapping>,
    pub outputs: Vec<Mapping>,
}

/// A tensor of the model, and what it is called in the ensemble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub model: Arc<str>,
    pub ensemble: Arc<str>,
}
