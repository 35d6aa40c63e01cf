//! Which requests run next, and when. Pure: a walk over the queue at a given `now`.
//!
//! The rule is Triton's (`dynamic_batch_scheduler.cc`, `GetDynamicBatch`): remember the largest
//! preferred size that the walk hits; send it unless the oldest request has waited long enough for
//! everything to go; wait only while more could still join.

use nereid_core::config::{
    DynamicBatching, InputConfig, Oldest, Scheduling, SequenceBatching, Strategy, TensorForm,
};
use nereid_core::{ModelConfig, Timestamp, ValidInput, ValidRequest};

use super::queue::{Entry, Queue};

/// What to do with the queue now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing waits.
    Idle,
    /// Run the first `requests` of the queue as one batch.
    Run { requests: usize },
    /// Look again at `until`, or earlier when `rows` rows wait.
    Wait { until: Timestamp, rows: usize },
}

/// How a model's requests are joined.
#[derive(Debug, Clone)]
pub struct Batcher {
    max_rows: usize,
    /// Ascending; empty for the default scheduler.
    preferred: Vec<usize>,
    delay_us: u64,
    /// What must agree before requests are joined; `None` if they always do.
    comparison: Option<Comparison>,
}

/// What the inputs of requests must have in common to share a batch (`RequiredEqualInputs`).
#[derive(Debug, Clone)]
struct Comparison {
    /// By the position of an input: its shape counts. So it does unless it cannot vary, or may be ragged. That of a state,
    /// which comes behind these, is whatever the model gave it.
    equal_shapes: Vec<bool>,
    /// By the position of an input: its data counts, since the batch has it once.
    equal_values: Vec<bool>,
}

impl Batcher {
    /// The batcher that `config` describes.
    pub fn new(config: &ModelConfig) -> Self {
        let comparison = Comparison::new(config);
        let (sizes, delay_us) = match &config.scheduling {
            Scheduling::DynamicBatching(DynamicBatching {
                preferred_batch_sizes,
                max_queue_delay_us,
                ..
            })
            | Scheduling::Sequence(SequenceBatching {
                strategy: Strategy::Oldest(Oldest { preferred_batch_sizes, max_queue_delay_us, .. }),
                ..
            }) => (preferred_batch_sizes, *max_queue_delay_us),
            _ => return Self { max_rows: 0, preferred: Vec::new(), delay_us: 0, comparison },
        };
        let mut preferred: Vec<usize> = sizes.iter().map(|p| *p as usize).collect();
        preferred.sort_unstable();
        Self { max_rows: config.max_batch_size as usize, preferred, delay_us, comparison }
    }

    /// Whether a batch may be held back for more requests to come.
    pub fn waits(&self) -> bool {
        self.delay_us > 0
    }

    /// Whether requests of this model may differ so that they cannot share a batch.
    pub fn compares_inputs(&self) -> bool {
        self.comparison.is_some()
    }

    /// How many batches the requests of `queue` make at least.
    pub fn batches(&self, queue: &Queue) -> usize {
        if self.max_rows <= 1 { queue.len() } else { queue.rows().div_ceil(self.max_rows) }
    }

    /// Decides at `now`. Time-outs must have been applied to `queue` already.
    pub fn decide(&self, queue: &Queue, now: Timestamp) -> Decision {
        self.decide_among(queue.iter(), queue.next_deadline(), now)
    }

    /// Decides at `now` about `entries`, in the order in which they will be served. None of them times out before
    /// `deadline`.
    pub(crate) fn decide_among<'a>(
        &self,
        mut entries: impl Iterator<Item = &'a Entry>,
        deadline: Option<Timestamp>,
        now: Timestamp,
    ) -> Decision {
        if self.max_rows <= 1 {
            return if entries.next().is_none() { Decision::Idle } else { Decision::Run { requests: 1 } };
        }
        let walk = self.walk(entries);
        let Some(oldest) = walk.oldest else { return Decision::Idle };
        let due = oldest.plus_us(self.delay_us);
        let delay_exceeded = self.waits() && now >= due;
        match walk.marked {
            Some(requests) if !delay_exceeded => Decision::Run { requests },
            _ if walk.full || walk.rows >= self.largest_preferred() || delay_exceeded || !self.waits() => {
                Decision::Run { requests: walk.requests }
            }
            _ => {
                let until = deadline.map_or(due, |deadline| due.min(deadline.plus_us(1)));
                let next = self.preferred.iter().find(|p| **p > walk.rows);
                Decision::Wait { until, rows: next.copied().unwrap_or(self.max_rows) }
            }
        }
    }

    /// Whether two requests may share a batch.
    pub(crate) fn joins(&self, a: &ValidRequest, b: &ValidRequest) -> bool {
        self.comparison.as_ref().is_none_or(|comparison| comparison.allows(a, b))
    }

    fn largest_preferred(&self) -> usize {
        self.preferred.last().copied().unwrap_or(0)
    }

    fn walk<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> Walk {
        let mut walk = Walk::default();
        let mut first: Option<&ValidRequest> = None;
        for entry in entries {
            let rows = walk.rows + entry.rows();
            match first {
                None => first = Some(&entry.request),
                Some(first) => {
                    if rows > self.largest_preferred() && walk.marked.is_none() {
                        walk.marked = Some(walk.requests);
                    }
                    if rows > self.max_rows || !self.joins(first, &entry.request) {
                        walk.full = true;
                        break;
                    }
                }
            }
            walk.rows = rows;
            walk.requests += 1;
            walk.oldest = Some(walk.oldest.map_or(entry.enqueued, |t| t.min(entry.enqueued)));
            if self.preferred.binary_search(&rows).is_ok() {
                walk.marked = Some(walk.requests);
            }
        }
        walk
    }
}

/// What a walk over the queue found.
#[derive(Debug, Default)]
struct Walk {
    requests: usize,
    rows: usize,
    /// Requests up to the best preferred size.
    marked: Option<usize>,
    /// The next request cannot join.
    full: bool,
    oldest: Option<Timestamp>,
}

impl Comparison {
    fn new(config: &ModelConfig) -> Option<Self> {
        let is_shape = |input: &InputConfig| input.form == TensorForm::Shape;
        let varies =
            |input: &InputConfig| !is_shape(input) && !input.allow_ragged_batch && input.dims.contains(&-1);
        let equal_shapes: Vec<bool> = config.inputs.iter().map(varies).collect();
        let equal_values: Vec<bool> = config.inputs.iter().map(is_shape).collect();
        let needed = equal_shapes.contains(&true) || equal_values.contains(&true);
        let needed = needed || config.inputs.iter().any(|input| input.optional);
        let needed = needed || !config.states().is_empty();
        needed.then_some(Self { equal_shapes, equal_values })
    }

    /// Whether two requests have the same inputs, in the same shapes where these count, but for the batch dimension.
    fn allows(&self, a: &ValidRequest, b: &ValidRequest) -> bool {
        let agree = |(a, b): (&ValidInput, &ValidInput)| {
            let shapes_count = self.equal_shapes.get(a.index).copied().unwrap_or(true);
            let values_count = self.equal_values.get(a.index).copied().unwrap_or(false);
            a.index == b.index
                && (!shapes_count || a.shape[1..] == b.shape[1..])
                && (!values_count || (a.shape == b.shape && a.data == b.data))
        };
        a.inputs().len() == b.inputs().len() && a.inputs().iter().zip(b.inputs()).all(agree)
    }
}

#[cfg(test)]
#[path = "batcher_tests.rs"]
mod tests;
