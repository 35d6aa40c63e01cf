//! `preserve_ordering`: answers leave in the order in which their requests left the queue, whichever
//! instance is done first.

use std::collections::BTreeMap;

use nereid_core::{Continuations, InferResponse, Responder, Result};
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
    /// A thread gives answers, outside the lock. It takes with it what becomes ready meanwhile, so that two
    /// threads cannot swap what they release.
    releasing: bool,
}

impl Ordering {
    /// Sends the answers of batch `number`, after those of all batches before it; maybe later, on the thread
    /// that is sending those. Numbers count from 0 without gaps. What the answers make possible goes to `later`.
    pub(crate) fn release(&self, number: u64, answers: Vec<Answer>, later: &mut Continuations) {
        let mut held = self.0.lock();
        held.waiting.insert(number, answers);
        if held.releasing {
            return;
        }
        loop {
            let next = held.next;
            let Some(answers) = held.waiting.remove(&next) else {
                held.releasing = false;
                return;
            };
            held.next += 1;
            held.releasing = true;
            drop(held);
            answers.into_iter().for_each(|(responder, result)| later.add(responder.respond(result)));
            held = self.0.lock();
        }
    }
}
