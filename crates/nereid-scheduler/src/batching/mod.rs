//! The default scheduler and the dynamic batcher: a queue, a rule for what runs together, and threads that pull
//! the next batch themselves.
//!
//! Decisions ([`queue`], [`batcher`]) are pure and take `now`; `scheduler`, `shared`, `worker`, `lead` and `timer` are
//! the shells that own the lock, the clock and the threads.

pub mod batcher;
pub(crate) mod instance;
mod lead;
mod level;
mod line;
pub(crate) mod ordering;
mod pace;
pub mod queue;
mod running;
mod scheduler;
mod shared;
mod timer;
mod turns;
mod warm_up;
mod worker;

pub use lead::Lead;
pub(crate) use scheduler::BatchScheduler;
pub use warm_up::warm_up;
