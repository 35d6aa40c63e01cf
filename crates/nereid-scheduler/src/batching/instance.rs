//! Runs one batch on one instance: execute, split, count. Whatever a backend does, there is one answer for
//! every request of the batch.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nereid_core::backend::Instance;
use nereid_core::batch::{Batch, split};
use nereid_core::{Error, InferResponse, ModelConfig, Result, Timestamp};

use super::ordering::Answer;
use super::queue::Entry;
use crate::statistics::{Clock, ExecutionTimes, FailureReason, Statistics};

/// What became of a batch. Answers stand in the order of its requests.
pub(crate) enum Outcome {
    /// Counted.
    Done { answers: Vec<Answer>, elapsed_ns: u64 },
    /// Not counted yet, because it depends on who wanted it so.
    Failed(Failed),
}

/// A batch whose execution ended with an error.
pub(crate) struct Failed {
    entries: Vec<Entry>,
    error: Error,
    end: Timestamp,
}

/// Runs `entries` as one batch. `clock` is the instance's, if it is told how busy it is.
pub(crate) fn run(
    instance: &mut dyn Instance,
    config: &ModelConfig,
    entries: Vec<Entry>,
    statistics: &Statistics,
    clock: Option<&Clock>,
) -> Outcome {
    let compute_start = Timestamp::now();
    let busy = clock.map(|clock| clock.begin(compute_start));
    let requests: Vec<_> = entries.iter().map(|entry| &entry.request).collect();
    let batch = Batch::new(config, &requests);
    let result = execute(instance, &batch, compute_start);
    let end = result.as_ref().map_or_else(|_| Timestamp::now(), |(_, times)| times.end);
    if let Some(busy) = busy {
        busy.end(end);
    }
    match result {
        Ok((responses, times)) => {
            let rows = batch.size();
            let sent = entries.iter().filter(|entry| !entry.request.is_null());
            statistics.record_success(rows, sent.map(|e| (e.enqueued, e.rows())), &times);
            let answers = entries.into_iter().zip(responses);
            let answers = answers.map(|(entry, response)| {
                let timing = times.timing(entry.enqueued);
                (entry.responder, Ok(InferResponse { timing, ..response }))
            });
            Outcome::Done { answers: answers.collect(), elapsed_ns: times.end.ns_since(compute_start) }
        }
        Err(error) => Outcome::Failed(Failed { entries, error, end }),
    }
}

/// Counts requests that fail without having run, and answers with `error`. No lock may be held.
pub(crate) fn fail(
    entries: impl IntoIterator<Item = Entry>,
    now: Timestamp,
    reason: FailureReason,
    error: &Error,
    statistics: &Statistics,
) {
    for entry in entries {
        statistics.record_failure(reason, now.ns_since(entry.enqueued));
        drop(entry.responder.respond(Err(error.clone())));
    }
}

impl Failed {
    /// Counts the failure as the backend's, and answers with its error.
    pub(crate) fn blame_backend(self, statistics: &Statistics) -> Vec<Answer> {
        self.answers(statistics, FailureReason::Backend)
    }

    /// Counts the batch as cancelled, and answers so.
    pub(crate) fn cancelled(self, statistics: &Statistics) -> Vec<Answer> {
        Self { error: Error::cancelled(), ..self }.answers(statistics, FailureReason::Canceled)
    }

    fn answers(self, statistics: &Statistics, reason: FailureReason) -> Vec<Answer> {
        let Self { entries, error, end } = self;
        let fail = |entry: Entry| {
            if !entry.request.is_null() {
                statistics.record_failure(reason, end.ns_since(entry.enqueued));
            }
            (entry.responder, Err(error.clone()))
        };
        entries.into_iter().map(fail).collect()
    }
}

fn execute(
    instance: &mut dyn Instance,
    batch: &Batch<'_>,
    compute_start: Timestamp,
) -> Result<(Vec<InferResponse>, ExecutionTimes)> {
    // A backend that panicked may be in any state, but `execute` starts each batch afresh.
    let result = catch_unwind(AssertUnwindSafe(|| -> Result<_> {
        let execution = instance.execute(batch)?;
        let (inputs_ready, compute_done) = (execution.inputs_ready, execution.compute_done);
        let mut responses = split(batch, execution.outputs)?;
        if !execution.parameters.is_empty() {
            responses.iter_mut().for_each(|response| response.parameters.clone_from(&execution.parameters));
        }
        let end = Timestamp::now();
        Ok((responses, ExecutionTimes { compute_start, inputs_ready, compute_done, end }))
    }));
    result.unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("unknown panic");
        tracing::error!(model = batch.config().name, "backend panicked: {what}");
        Err(Error::internal(format!("model '{}' failed: backend panicked: {what}", batch.config().name)))
    })
}
