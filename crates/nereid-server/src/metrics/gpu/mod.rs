//! GPUs on the metrics page: `choice` says which of them, `nvml` asks the driver, `readings` keep what it said, so that no
//! page waits for a driver that does not answer.

#[cfg(feature = "nvml")]
mod choice;
mod cuda;
#[cfg(feature = "nvml")]
mod device;
#[cfg(feature = "nvml")]
mod nvml;
#[cfg_attr(not(feature = "nvml"), allow(dead_code, reason = "nothing asks the driver in such a build"))]
mod readings;
mod start;
mod values;

#[cfg(all(test, feature = "nvml"))]
mod tests;

pub(crate) use readings::Readings;
pub(crate) use start::{start, uuids};
pub(super) use values::GpuValues;
