//! The rate limiter of a server, shared by the schedulers of all its models: an instance runs only when the resources
//! that its config lists are free, and among those that wait the one goes first that ran least, weighted by priority
//! (Triton's `rate_limiter.cc`, `--rate-limit=execution_count`).
//!
//! Decisions ([`resources`], [`ledger`]) are pure; [`limiter`] is the shell that owns the lock and tells schedulers.
//! It has no thread, keeps no request, and does not know what an instance runs.

mod ledger;
mod limiter;
mod resources;

pub use limiter::RateLimiter;
pub(crate) use limiter::{Asked, Grant, Registration, Wait, Waiter, Wakes};
pub use resources::ResourceLimits;
