//! Which scheduler serves a model, and how.

use std::collections::BTreeMap;

use super::{Ensemble, SequenceBatching};

/// Which scheduler serves the model.
#[derive(Debug, Clone, Default)]
pub enum Scheduling {
    /// Each request is one execution.
    #[default]
    Default,
    /// Requests are merged into batches.
    DynamicBatching(DynamicBatching),
    /// The model is made of other models, and has neither backend nor instances.
    Ensemble(Ensemble),
    /// Requests belong to sequences, each of which stays on one instance.
    Sequence(SequenceBatching),
}

/// `dynamic_batching` of a config, normalised.
#[derive(Debug, Clone, Default)]
pub struct DynamicBatching {
    /// Ascending; never empty after normalisation.
    pub preferred_batch_sizes: Vec<u32>,
    pub max_queue_delay_us: u64,
    pub preserve_ordering: bool,
    /// Levels 1 (highest) to this; 0 means that there are no levels.
    pub priority_levels: u64,
    pub default_priority_level: u64,
    pub default_queue_policy: QueuePolicy,
    /// Level to policy, where it is not the default one.
    pub priority_queue_policies: BTreeMap<u64, QueuePolicy>,
}

/// How long and how many requests may wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueuePolicy {
    pub timeout_action: TimeoutAction,
    /// 0 means no time-out.
    pub default_timeout_us: u64,
    pub allow_timeout_override: bool,
    /// 0 means no limit.
    pub max_queue_size: u32,
}

/// What happens to a request that waited too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TimeoutAction {
    /// It is answered with an error.
    #[default]
    Reject,
    /// It goes behind all requests that have not timed out.
    Delay,
}
