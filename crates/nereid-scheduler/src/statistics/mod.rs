//! What a version of a model has done: `counts` are what `version` counts once per batch, [`latencies`] on request, `busy` is
//! when its instances ran, and `reporters` make series of metrics of them.

mod busy;
mod counts;
pub mod latencies;
mod quantiles;
mod reporters;
mod summary;
mod version;

pub use busy::Busy;
pub(crate) use busy::Clock;
pub use counts::{
    BUCKETS_US, BatchCounts, ComputeTimes, Counts, Duration, ExecutionTimes, FailureReason, Histogram,
};
pub use latencies::LatencyOptions;
pub use quantiles::{MAX_SAMPLES, Quantile};
pub use reporters::{Reporters, Series, SeriesId};
pub use summary::SummaryValues;
pub use version::Statistics;
