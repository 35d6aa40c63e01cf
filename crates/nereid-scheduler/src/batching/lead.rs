//! Running a batch on the thread that received a request of it. For a model that takes microseconds
//! this saves the wake-up of another thread, and requests that arrive together run together.

use std::fmt;
use std::sync::Arc;
use std::thread::ThreadId;

use nereid_core::{Continuations, Continue, Timestamp};

use super::shared::{Next, Shared};
use super::turns::Turns;

/// A promise to look at a queue soon. See [`crate::Scheduler::enqueue`].
pub struct Lead {
    shared: Arc<Shared>,
    thread: ThreadId,
    /// The promise still stands in the scheduler's books.
    open: bool,
    /// What the answers of this one have made possible, and further leads that go with it.
    later: Continuations,
}

impl Lead {
    pub(crate) fn new(shared: Arc<Shared>, thread: ThreadId) -> Self {
        Self { shared, thread, open: true, later: Continuations::default() }
    }

    /// This lead, with other work for the same thread.
    pub(crate) fn with(mut self, mut others: Continuations) -> Self {
        self.later.append(&mut others);
        self
    }

    /// Runs the next batch on this thread, and what its answers make possible. `true` asks to be called again after
    /// other work of the thread had its turn, because more requests wait.
    pub fn run(&mut self) -> bool {
        if self.open {
            let mut later = std::mem::take(&mut self.later);
            self.run_batch(&mut later);
            self.later = later;
        }
        self.later.turn();
        self.open || !self.later.is_empty()
    }

    /// Runs the next batch on this thread, if it still may; keeps the promise open if more requests wait.
    fn run_batch(&mut self, later: &mut Continuations) {
        let mut state = self.shared.state.lock();
        state.leads.retain(|thread| *thread != self.thread);
        self.open = false;
        if !self.shared.may_lead() {
            self.shared.work.notify_one();
            return;
        }
        match self.shared.next(&mut state, Timestamp::now()) {
            Next::Run(job) => {
                drop(state);
                state = self.shared.run(job, later);
            }
            // A batcher that waits never asks for a lead; with nothing idle or nothing queued, whoever gives an
            // instance back or enqueues looks again.
            Next::Wait { .. } | Next::Idle => return,
        }
        // With no idle instance left, whoever gives one back looks at the queue.
        let may_begin = !state.idle.is_empty() || state.turns.as_ref().is_some_and(Turns::may_begin);
        self.open = !state.queue.is_empty() && may_begin;
        if self.open {
            state.leads.push(self.thread);
        }
    }
}

impl Continue for Lead {
    fn turn(&mut self, more: &mut Continuations) -> bool {
        more.append(&mut self.later);
        self.run_batch(more);
        self.open
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if self.open {
            let mut state = self.shared.state.lock();
            state.leads.retain(|thread| *thread != self.thread);
            if !state.queue.is_empty() {
                self.shared.work.notify_one();
            }
        }
    }
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").field("open", &self.open).finish_non_exhaustive()
    }
}
