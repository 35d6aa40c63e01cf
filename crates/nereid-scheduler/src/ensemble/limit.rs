//! `max_inflight_requests`: how many requests may be under way in one step, and who is next. Pure; waiting occupies no
//! thread, unlike in Triton, so that there is no time after which the limit is given up.

use std::collections::VecDeque;

/// The limit of one step. `W` is who waits.
#[derive(Debug)]
pub(super) struct Limit<W> {
    most: u32,
    under_way: u32,
    waiting: VecDeque<W>,
}

impl<W> Limit<W> {
    /// At most `most` at once.
    pub(super) fn new(most: u32) -> Self {
        Self { most, under_way: 0, waiting: VecDeque::new() }
    }

    /// Admits `who` at once, which is then given back, or lets it wait.
    pub(super) fn enter(&mut self, who: W) -> Option<W> {
        if self.under_way < self.most {
            self.under_way += 1;
            return Some(who);
        }
        self.waiting.push_back(who);
        None
    }

    /// One that was admitted has ended. The next one is admitted in its place.
    pub(super) fn leave(&mut self) -> Option<W> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.under_way -= 1;
        }
        next
    }

    /// Takes out one that waits; `None` if none is meant by `is`.
    pub(super) fn give_up(&mut self, is: impl Fn(&W) -> bool) -> Option<W> {
        let index = self.waiting.iter().position(is)?;
        self.waiting.remove(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_and_in_order() {
        let mut limit = Limit::new(2);
        assert_eq!((limit.enter('a'), limit.enter('b')), (Some('a'), Some('b')));
        assert_eq!((limit.enter('c'), limit.enter('d'), limit.enter('e')), (None, None, None));
        assert_eq!(limit.give_up(|who| *who == 'c'), Some('c'));
        assert_eq!(limit.give_up(|who| *who == 'c'), None);
        assert_eq!((limit.leave(), limit.leave(), limit.leave()), (Some('d'), Some('e'), None));
        assert_eq!((limit.leave(), limit.under_way), (None, 0));
        assert_eq!(limit.enter('f'), Some('f'));
    }
}
