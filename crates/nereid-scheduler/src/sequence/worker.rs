//! The thread of an instance: waits for work, runs it, does what its answers made possible, looks again.

use std::sync::Arc;

use nereid_core::{Continuations, Timestamp};
use parking_lot::MutexGuard;

use super::shared::{Next, Shared};
use crate::ActiveInstance;

/// Runs until no request comes any more and all of instance `number` are done.
pub(crate) fn run(shared: &Arc<Shared>, number: usize, mut active: ActiveInstance) {
    // Left to others' threads when this one ends.
    let mut later = Continuations::default();
    let mut state = shared.state.lock();
    loop {
        let now = Timestamp::now();
        match shared.next(&mut state, number, now) {
            Next::Run(job, grant) => {
                drop(state);
                shared.run(number, &mut active, job, &mut later);
                drop(grant); // whoever it lets in is told, hence without the lock
                state = shared.state.lock();
            }
            Next::Wait { .. } | Next::Idle if !later.is_empty() => {}
            Next::Wait { until } => {
                shared.work[number].wait_for(&mut state, until.since(now));
            }
            Next::Idle if state.sequencer.is_drained(number) => return,
            Next::Idle => shared.work[number].wait(&mut state),
        }
        if !later.is_empty() {
            // In turn with this model's own work, so that neither waits for the other to end.
            MutexGuard::unlocked(&mut state, || later.turn());
        }
    }
}
