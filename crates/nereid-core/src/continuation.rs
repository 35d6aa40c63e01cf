//! Work that an answer made possible, such as the next step of an ensemble. Whoever gives answers does it, on its own
//! thread, after the last answer of a batch: then the next steps of a whole batch run together again, and no other
//! thread is woken for them.

use std::fmt;

/// Something to do that can be done in pieces. Dropping it leaves what is left to other threads.
pub trait Continue: Send {
    /// Does one piece; `true` asks for another turn. What the answers given on the way make possible goes to `more`.
    fn turn(&mut self, more: &mut Continuations) -> bool;
}

/// A piece of work, given by [`crate::Respond::respond`].
pub type Continuation = Box<dyn Continue>;

/// All that a thread has in hand. Empty and free of allocations unless ensembles are served.
#[derive(Default)]
pub struct Continuations(Vec<Continuation>);

impl Continuations {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes on more work.
    pub fn add(&mut self, continuation: Option<Continuation>) {
        self.0.extend(continuation);
    }

    /// Takes on all that `others` holds.
    pub fn append(&mut self, others: &mut Self) {
        self.0.append(&mut others.0);
    }

    /// All of it as one piece of work.
    pub fn into_one(mut self) -> Option<Continuation> {
        match self.0.len() {
            0 | 1 => self.0.pop(),
            _ => Some(Box::new(self)),
        }
    }

    /// Gives each one turn. What that makes possible has its turn the next time: a chain of any length takes turns,
    /// not stack.
    pub fn turn(&mut self) {
        let mut more = Self::default();
        self.0.retain_mut(|continuation| continuation.turn(&mut more));
        self.append(&mut more);
    }
}

impl Continue for Continuations {
    fn turn(&mut self, more: &mut Continuations) -> bool {
        more.append(self);
        more.turn();
        false
    }
}

impl fmt::Debug for Continuations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Continuations").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for `again` more turns and starts a chain of `chain` others.
    struct Count {
        again: usize,
        chain: usize,
    }

    impl Continue for Count {
        fn turn(&mut self, more: &mut Continuations) -> bool {
            if self.chain > 0 {
                more.add(Some(Box::new(Self { again: 0, chain: self.chain - 1 })));
                self.chain = 0;
            }
            self.again = self.again.saturating_sub(1);
            self.again > 0
        }
    }

    fn turns(again: usize, chain: usize) -> usize {
        let mut hand = Continuations::default();
        hand.add(Some(Box::new(Count { again, chain })));
        let mut turns = 0;
        while !hand.is_empty() {
            hand.turn();
            turns += 1;
        }
        turns
    }

    #[test]
    fn work_ends_when_it_asks_for_no_more() {
        assert_eq!((turns(1, 0), turns(3, 0), turns(1, 2), turns(5, 2)), (1, 3, 3, 5));
    }

    #[test]
    fn a_long_chain_takes_no_stack() {
        assert_eq!(turns(1, 1_000_000), 1_000_001);
    }
}
