//! The thread that rejects requests whose time-out passes while every instance is busy.

use std::sync::Arc;

use nereid_core::Timestamp;

use super::shared::Shared;

/// Runs until the scheduler stops and its queue is empty. Started only where requests can time out.
pub(crate) fn run(shared: Arc<Shared>) {
    let mut state = shared.state.lock();
    loop {
        let now = Timestamp::now();
        shared.expire(&mut state, now);
        if state.stopping && state.queue.is_empty() {
            return;
        }
        state.timer_until = state.queue.next_deadline();
        match state.timer_until {
            Some(deadline) => {
                shared.expiry.wait_for(&mut state, deadline.plus_us(1).since(now));
            }
            None => shared.expiry.wait(&mut state),
        }
    }
}
