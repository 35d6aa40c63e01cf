//! One model's queue, dynamic batcher, instance workers and statistics, and the metrics of all models.
//!
//! Knows neither HTTP, gRPC nor the file system. Decisions ([`queue`], [`batcher`]) are pure and take
//! `now`; `scheduler`, `shared`, `worker`, `lead` and `timer` are the shells that own the lock, the clock
//! and the threads.

pub mod batcher;
mod instance;
pub mod latencies;
mod lead;
mod line;
mod ordering;
mod pace;
mod quantiles;
pub mod queue;
mod reporters;
mod running;
mod scheduler;
mod shared;
pub mod statistics;
mod summary;
mod timer;
mod worker;

pub use latencies::LatencyOptions;
pub use lead::Lead;
pub use quantiles::{MAX_SAMPLES, Quantile};
pub use queue::Ticket;
pub use reporters::{Reporters, Series, SeriesId};
pub use scheduler::{Queued, Scheduler, SchedulerOptions};
pub use statistics::Statistics;
pub use summary::SummaryValues;
