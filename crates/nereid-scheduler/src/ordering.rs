//! `preserve_ordering`: answers leave in the order in which their requests left the queue, whichever
//! instance is done first.

use std::collections::BTreeMap;

use nereid_core::{InferResponse, Responder, Result};
use parking_lot::Mutex;

/// An answer and where it goes.
pub(crate) type Answer = (Responder, Result<InferResponse>);

/// Holds answers back until all earlier ones are there.
#[derive(Debug, Default)]
pub(crate) struct Ordering(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// The batch whose answers go next.
    next: u64,
    waiting: BTreeMap<u64, Vec<Answer>>,
}

impl Ordering {
    /// Sends the answers of batch `number`, after those of all batches before it. Numbers count from 0
    /// without gaps.
    pub(crate) fn release(&self, number: u64, answers: Vec<Answer>) {
        let mut held = self.0.lock();
        held.waiting.insert(number, answers);
        // The lock stays, so that two threads cannot swap what they release. `respond` does not block.
        loop {
            let next = held.next;
            let Some(answers) = held.waiting.remove(&next) else { return };
            held.next += 1;
            for (responder, result) in answers {
                responder.respond(result);
            }
        }
    }
}
