//! Runs one batch on one instance: execute, split, count. Whatever a backend does, there is one answer for
//! every request of the batch.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nereid_core::backend::Instance;
use nereid_core::batch::{Batch, split};
use nereid_core::{Error, InferResponse, ModelConfig, Result, Timestamp};

use crate::ordering::Answer;
use crate::queue::Entry;
use crate::statistics::{ExecutionTimes, FailureReason, Statistics};

/// Runs `entries` as one batch and gives an answer to each, in their order, and how long a success took.
pub(crate) fn run(
    instance: &mut dyn Instance,
    config: &ModelConfig,
    entries: Vec<Entry>,
    statistics: &Statistics,
) -> (Vec<Answer>, Option<u64>) {
    let compute_start = Timestamp::now();
    let requests: Vec<_> = entries.iter().map(|entry| &entry.request).collect();
    let batch = Batch::new(config, &requests);
    match execute(instance, &batch, compute_start) {
        Ok((responses, times)) => {
            let rows = batch.size();
            statistics.record_success(rows, entries.iter().map(|e| (e.enqueued, e.rows())), &times);
            let answers = entries.into_iter().zip(responses);
            let answers = answers.map(|(entry, response)| {
                let timing = times.timing(entry.enqueued);
                (entry.responder, Ok(InferResponse { timing, ..response }))
            });
            (answers.collect(), Some(times.end.ns_since(compute_start)))
        }
        Err(error) => {
            let end = Timestamp::now();
            let fail = |entry: Entry| {
                statistics.record_failure(FailureReason::Backend, end.ns_since(entry.enqueued));
                (entry.responder, Err(error.clone()))
            };
            (entries.into_iter().map(fail).collect(), None)
        }
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
        let responses = split(batch, execution.outputs)?;
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
