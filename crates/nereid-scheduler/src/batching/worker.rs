//! The thread of an instance: waits for work, runs it, does what its answers made possible, looks again.

use std::sync::Arc;

use nereid_core::{Continuations, Timestamp};
use parking_lot::MutexGuard;

use super::shared::{Next, Shared};

/// Runs until the scheduler stops and its queue is empty.
pub(crate) fn run(shared: Arc<Shared>) {
    // Left to others' threads when this one ends.
    let mut later = Continuations::default();
    let mut state = shared.state.lock();
    loop {
        if state.stopping && state.queue.is_empty() {
            return;
        }
        let now = Timestamp::now();
        match shared.next(&mut state, now) {
            Next::Run(job) => {
                // Another instance may have work, too.
                if !state.queue.is_empty() && !state.idle.is_empty() {
                    shared.work.notify_one();
                }
                drop(state);
                state = shared.run(job, &mut later);
            }
            Next::Wait { .. } | Next::Idle if !later.is_empty() => {}
            Next::Wait { until, rows } => {
                state.wake_at_rows = Some(rows);
                shared.work.wait_for(&mut state, until.since(now));
                state.wake_at_rows = None;
            }
            // `next` may have emptied the queue by answering requests that timed out.
            Next::Idle if state.stopping && state.queue.is_empty() => return,
            Next::Idle => shared.work.wait(&mut state),
        }
        if !later.is_empty() {
            // In turn with this model's own work, so that neither waits for the other to end.
            MutexGuard::unlocked(&mut state, || later.turn());
        }
    }
}
