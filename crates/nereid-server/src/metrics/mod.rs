//! The metrics page: what the schedulers' statistics say, as Prometheus text.
//!
//! Names, types, labels and help texts of the `nv_*` families are Triton's (`metrics.cc`,
//! `metric_model_reporter.cc`); `nereid_*` families are our own; backends may have some, too. Nothing is counted here: every page is a
//! snapshot of the counters that the v2 statistics show too. No endpoint and no HTTP lives here.

mod custom;
mod families;
mod gpu;
mod host;
mod limits;
mod options;
mod page;
mod sample;
mod text;

#[cfg(test)]
mod signals_tests;
#[cfg(test)]
mod tests;

pub(crate) use gpu::{Readings as GpuReadings, start as start_gpus, uuids as gpu_uuids};
pub use options::{DEFAULT_QUANTILES, MetricsOptions};
pub(crate) use page::Page;

/// Content type of the page, as Triton's metrics endpoint gives it.
pub const CONTENT_TYPE: &str = "text/plain; charset=utf-8";
