//! One model's queue, dynamic batcher, instance workers and statistics.
//!
//! Knows neither HTTP, gRPC nor the file system. Decisions ([`queue`], [`batcher`]) are pure and take
//! `now`; `scheduler`, `worker`, `lead` and `timer` are the shells that own the lock, the clock
//! and the threads.

pub mod batcher;
mod instance;
mod lead;
mod ordering;
mod pace;
pub mod queue;
mod scheduler;
pub mod statistics;
mod timer;
mod worker;

pub use lead::Lead;
pub use scheduler::{Scheduler, SchedulerOptions};
pub use statistics::Statistics;
