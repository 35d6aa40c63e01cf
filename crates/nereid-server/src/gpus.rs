//! The GPUs of the server: which there are, which models may use, and the page-locked memory for copies to them.
//!
//! They are looked for once, at start, since instance groups depend on them. A machine without a driver is found to be one
//! at once.

use nereid_core::{Error, Result};
#[cfg(feature = "cuda")]
use {
    nereid_cuda::{DeviceInfo, PinnedPool, driver::devices},
    std::sync::Arc,
};

use crate::cli::GpuOptions;

/// What [`Gpus::find`] found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gpus {
    /// Numbers of those that models may use, ascending.
    usable: Vec<i32>,
    /// `None` without a GPU.
    #[cfg(feature = "cuda")]
    pinned_pool: Option<Arc<PinnedPool>>,
}

/// Bytes of page-locked memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PinnedMemory {
    pub(crate) total: usize,
    pub(crate) used: usize,
}

impl Gpus {
    /// Looks for them, and logs in one line what was found. May take a second where there are any.
    #[cfg(feature = "cuda")]
    pub(crate) fn find(options: &GpuOptions) -> Self {
        let found = match devices() {
            Ok(found) => found,
            Err(reason) => {
                tracing::info!("No GPU is used: {reason}");
                return Self::default();
            }
        };
        let infos: Vec<_> = found.iter().map(|device| device.info()).collect();
        let described: Vec<_> = infos.iter().map(|info| describe(info)).collect();
        tracing::info!("GPUs: {}", described.join("; "));
        let least = options.min_compute_capability;
        let (usable, too_old): (Vec<_>, Vec<_>) = infos.into_iter().partition(|info| info.suffices(least));
        for DeviceInfo { ordinal, compute_capability: (major, minor), .. } in too_old {
            tracing::warn!(
                "gpu {ordinal} has compute capability '{major}.{minor}' which is less than the minimum supported of \
                 '{least:.6}'"
            );
        }
        Self {
            usable: usable.iter().map(|info| info.ordinal).collect(),
            pinned_pool: Some(PinnedPool::new(options.pinned_pool_bytes)),
        }
    }

    /// None: this build does not look for them.
    #[cfg(not(feature = "cuda"))]
    pub(crate) fn find(_: &GpuOptions) -> Self {
        tracing::info!("No GPU is used: this build is without CUDA");
        Self::default()
    }

    /// Numbers of those that models may use, ascending.
    pub(crate) fn usable(&self) -> &[i32] {
        &self.usable
    }

    /// Where backends take page-locked memory from. `None` without a GPU.
    #[cfg(feature = "cuda")]
    #[allow(dead_code, reason = "a build may have no backend that uses it")]
    pub(crate) fn pinned_pool(&self) -> Option<Arc<PinnedPool>> {
        self.pinned_pool.clone()
    }

    /// None without a GPU.
    pub(crate) fn pinned_memory(&self) -> PinnedMemory {
        #[cfg(feature = "cuda")]
        if let Some(pool) = &self.pinned_pool {
            let values = pool.values();
            return PinnedMemory { total: values.total, used: values.used };
        }
        PinnedMemory::default()
    }
}

/// Bytes in use and in total of the memory of a GPU, whoever uses them.
///
/// # Errors
/// There is no such GPU, or the driver fails.
pub(crate) fn memory(device: i32) -> Result<(u64, u64)> {
    #[cfg(feature = "cuda")]
    if let Some(gpu) = devices().unwrap_or_default().iter().find(|gpu| gpu.info().ordinal == device) {
        let memory = gpu
            .memory()
            .map_err(|e| Error::internal(format!("unable to get memory info for device {device}: {e}")))?;
        return Ok((memory.total.saturating_sub(memory.free), memory.total));
    }
    Err(Error::internal(format!("unable to get memory info for device {device}: there is no such GPU")))
}

#[cfg(feature = "cuda")]
fn describe(info: &DeviceInfo) -> String {
    let DeviceInfo { ordinal, name, uuid, compute_capability: (major, minor), total_memory, .. } = info;
    format!("{ordinal} is {name} ({uuid}), compute capability {major}.{minor}, {} MiB", total_memory >> 20)
}

#[cfg(all(test, feature = "cuda"))]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_gpu_that_is_not_there() {
        let error = memory(1_000).unwrap_err();
        assert_eq!(error.message(), "unable to get memory info for device 1000: there is no such GPU");
    }
}
