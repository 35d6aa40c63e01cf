//! How large the budget is. Pure: who asks has looked at the memory.

use crate::container::Memory;

/// The automatic budget is one part in this many of what models leave of the memory. A byte of a request is one in its
/// message and, for moments, one in a copy of it: when a buffer grows, when requests are gathered into a batch, when a message
/// is decoded; allocators keep some of what was given back, models need some while they run, and each connection has a buffer.
/// Floods took up to 3.5 times the budget.
const SHARE: u64 = 5;
/// A server with less than this could hardly serve anything.
const LEAST_BYTES: u64 = 16 << 20;

/// What bounds the bytes in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    None,
    Bytes(u64),
    /// A share of what is left of so many bytes of memory.
    Memory(u64),
}

impl Limit {
    /// What `--max-inflight-bytes` says; without it a share of `memory`.
    pub(crate) fn of(max_inflight_bytes: Option<u64>, memory: Memory) -> Self {
        match (max_inflight_bytes, memory.most()) {
            (Some(0), _) | (None, None) => Self::None,
            (Some(bytes), _) => Self::Bytes(bytes),
            (None, Some(memory)) => Self::Memory(memory),
        }
    }
}

/// The budget in bytes; `None` for no limit. `others` is what the process has besides requests.
pub(super) fn bytes(limit: Limit, others: u64) -> Option<u64> {
    match limit {
        Limit::None => None,
        Limit::Bytes(bytes) => Some(bytes),
        Limit::Memory(memory) => Some((memory.saturating_sub(others) / SHARE).max(LEAST_BYTES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_comes_first() {
        let known = Memory { limit: Some(5), machine: Some(9) };
        for (flag, memory, expected) in [
            (Some(0), known, Limit::None),
            (Some(7), known, Limit::Bytes(7)),
            (None, known, Limit::Memory(5)),
            (None, Memory::default(), Limit::None),
        ] {
            assert_eq!(Limit::of(flag, memory), expected, "{flag:?} {memory:?}");
        }
    }

    #[test]
    fn a_share_of_what_is_left() {
        const MIB: u64 = 1 << 20;
        for (limit, others, expected) in [
            (Limit::None, 0, None),
            (Limit::Bytes(5), 0, Some(5)),
            (Limit::Memory(256 * MIB), 16 * MIB, Some(48 * MIB)),
            (Limit::Memory(256 * MIB), 250 * MIB, Some(LEAST_BYTES)),
            (Limit::Memory(256 * MIB), 300 * MIB, Some(LEAST_BYTES)),
        ] {
            assert_eq!(bytes(limit, others), expected, "{limit:?} {others}");
        }
    }
}
