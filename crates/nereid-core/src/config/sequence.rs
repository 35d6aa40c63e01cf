//! How requests of sequences are scheduled, and what the scheduler adds to them: control inputs and states.
//! Describes only; which request gets which value is decided by the scheduler.

use bytes::Bytes;

use crate::Shape;

/// `sequence_batching` of a config, normalised.
///
/// Of the model's [`super::ModelConfig::injected_inputs`] the first are the controls, the others the states, both in
/// the order of these lists.
#[derive(Debug, Clone)]
pub struct SequenceBatching {
    pub strategy: Strategy,
    /// A sequence without a request for so long is over.
    pub max_idle_us: u64,
    pub controls: Vec<Control>,
    pub states: Vec<State>,
    /// A request without a correlation id becomes a sequence of its own.
    pub iterative: bool,
}

/// Which requests make a batch.
#[derive(Debug, Clone)]
pub enum Strategy {
    /// A sequence has one row of an instance's batches for itself.
    Direct(Direct),
    /// A sequence has an instance, and the oldest requests go first.
    Oldest(Oldest),
}

/// `direct` of a config.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct {
    pub max_queue_delay_us: u64,
    /// Part of the rows that need a request before the delay has passed, from 0 to 1.
    pub minimum_slot_utilization: f32,
}

/// `oldest` of a config.
#[derive(Debug, Clone, Default)]
pub struct Oldest {
    /// Sequences that an instance serves at the same time, at least 1.
    pub max_candidate_sequences: usize,
    /// Ascending; never empty.
    pub preferred_batch_sizes: Vec<u32>,
    pub max_queue_delay_us: u64,
}

/// What a control input tells the model about a row.
#[derive(Debug, Clone)]
pub enum Control {
    /// It is the first request of a sequence.
    Start(Flag),
    /// It is the last one.
    End(Flag),
    /// It is a request at all.
    Ready(Flag),
    /// Of which sequence it is.
    CorrelationId,
}

/// One element, as the model wants it.
#[derive(Debug, Clone)]
pub struct Flag {
    pub no: Bytes,
    pub yes: Bytes,
}

/// An output of one request that is an input of the next one.
#[derive(Debug, Clone)]
pub struct State {
    /// Position among all outputs: those that clients see, then [`super::ModelConfig::hidden_outputs`].
    pub output: usize,
    /// What the first request of a sequence gets.
    pub initial: StateTensor,
}

/// A state between two requests.
#[derive(Debug, Clone)]
pub struct StateTensor {
    /// With a batch dimension of 1 if the model batches.
    pub shape: Shape,
    pub data: Bytes,
}
