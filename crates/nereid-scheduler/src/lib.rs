//! Everything between a valid request and the instances of its model: one [`Scheduler`] per loaded version, of the kind
//! that its config chooses, and what all versions have done.
//!
//! Knows neither HTTP, gRPC nor the file system. Decisions are pure and take `now`; the shells around them own locks,
//! clocks and threads.

pub mod batching;
mod cache;
mod ensemble;
mod kind;
mod rate_limiter;
mod scheduler;
mod sequence;
pub mod statistics;
mod threads;
mod ticket;

pub use batching::{Lead, warm_up};
pub use cache::{CacheValues, ModelIdentity, ResponseCache};
pub use ensemble::{ComposingModel, ComposingModels};
pub use rate_limiter::{RateLimiter, ResourceLimits};
pub use scheduler::{ActiveInstance, Queued, Scheduler, SchedulerOptions};
pub use statistics::{
    Busy, LatencyOptions, MAX_SAMPLES, Quantile, Reporters, Series, SeriesId, Statistics, SummaryValues,
};
pub use ticket::Ticket;
