//! The thread that ends sequences without requests, and rejects those that wait for a slot for too long.

use std::sync::Arc;

use nereid_core::Timestamp;

use super::shared::Shared;

/// Runs until the scheduler closes.
pub(crate) fn run(shared: &Arc<Shared>) {
    let mut state = shared.state.lock();
    while !state.closed {
        let now = Timestamp::now();
        shared.expire(&mut state, now);
        if state.closed {
            return; // while the lock was released
        }
        state.reaper_until = state.sequencer.next_expiry();
        match state.reaper_until {
            Some(until) => {
                shared.expiry.wait_for(&mut state, until.since(now));
            }
            None => shared.expiry.wait(&mut state),
        }
    }
}
