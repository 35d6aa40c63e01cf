//! The memory of requests in flight, and how much of it there may be (`--max-inflight-bytes`).
//!
//! A [`Held`] goes with each request and counts its bytes as they come, in the [`Budget`] that all share; dropping it gives
//! them back. What would be too much is refused, with a text that says so, instead of the process being ended by the kernel.
//! Sizes that clients only announce are never counted.

mod budget;
mod held;
mod sizing;

pub(crate) use budget::{Budget, Usage};
pub(crate) use held::Held;
pub(crate) use sizing::Limit;

/// When clients that found no room, here or in a queue, are told to come again.
pub(crate) const RETRY_AFTER_SECONDS: u64 = 1;
/// What is shorter is not worth counting for its own sake: an answer, or JSON that is to be decoded.
pub(crate) const LARGE: usize = 16 << 10;
