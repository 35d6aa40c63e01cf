//! What a thread that brings an ensemble forward has in hand: leads of models that it gave requests to, and what else its
//! answers made possible.

use nereid_core::{Continuation, Continuations};

use crate::Lead;

/// Empty most of the time, and free of allocations then.
#[derive(Default)]
pub(super) struct Hand {
    lead: Option<Lead>,
    others: Continuations,
}

impl Hand {
    pub(super) fn add_lead(&mut self, lead: Option<Lead>) {
        let Some(lead) = lead else { return };
        match &self.lead {
            None => self.lead = Some(lead),
            Some(_) => self.others.add(Some(Box::new(lead))),
        }
    }

    pub(super) fn add(&mut self, continuation: Option<Continuation>) {
        self.others.add(continuation);
    }

    /// All of it, for a thread that asked for a lead. Without one it is left to other threads.
    pub(super) fn into_lead(self) -> Option<Lead> {
        let Self { lead, others } = self;
        lead.map(|lead| lead.with(others))
    }

    /// All of it, for a thread that gave an answer.
    pub(super) fn into_continuation(self) -> Option<Continuation> {
        let Self { lead, others } = self;
        match lead {
            Some(lead) => Some(Box::new(lead.with(others))),
            None => others.into_one(),
        }
    }
}
