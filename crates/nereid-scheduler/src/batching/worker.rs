//! The thread of an instance: waits for work, runs it, looks again.

use std::sync::Arc;

use nereid_core::Timestamp;

use super::shared::{Next, Shared};

/// Runs until the scheduler stops and its queue is empty.
pub(crate) fn run(shared: Arc<Shared>) {
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
                state = shared.run(job);
            }
            Next::Wait { until, rows } => {
                state.wake_at_rows = Some(rows);
                shared.work.wait_for(&mut state, until.since(now));
                state.wake_at_rows = None;
            }
            // `next` may have emptied the queue by answering requests that timed out.
            Next::Idle if state.stopping && state.queue.is_empty() => return,
            Next::Idle => shared.work.wait(&mut state),
        }
    }
}
