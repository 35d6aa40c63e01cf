//! How full the memory of a GPU may be when a model is loaded on it (`--model-load-gpu-limit`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use nereid_core::config::{InstanceKind, InstanceSpec};
use nereid_core::{Error, Result};

/// Bytes in use and in total of the memory of the GPU of a number.
type Memory = dyn Fn(i32) -> Result<(u64, u64)> + Send + Sync;

/// Limits by GPU. Those that have none may be filled.
#[derive(Clone)]
pub struct GpuLimits {
    fractions: BTreeMap<i32, f64>,
    memory: Arc<Memory>,
}

impl GpuLimits {
    /// `fractions` are parts of the whole memory, 0 to 1, by the number of the GPU. `memory` gives the bytes in use and in
    /// total of a GPU, or fails.
    pub fn new(
        fractions: BTreeMap<i32, f64>,
        memory: impl Fn(i32) -> Result<(u64, u64)> + Send + Sync + 'static,
    ) -> Self {
        Self { fractions, memory: Arc::new(memory) }
    }

    /// Checks the GPU that an instance is to be on, or is on.
    ///
    /// # Errors
    /// `Unavailable` with Triton's text if more is in use than the limit says; what is wrong with the GPU.
    pub(crate) fn check(&self, instance: &InstanceSpec) -> Result<()> {
        let InstanceKind::Gpu { device } = instance.kind else { return Ok(()) };
        let Some(fraction) = self.fractions.get(&device) else { return Ok(()) };
        let (used, total) = (self.memory)(device)?;
        if used as f64 <= (total as f64 * fraction).trunc() {
            return Ok(());
        }
        Err(Error::unavailable(format!(
            "can not create model '{}': memory limit set for GPU {device} has exceeded, model loading is rejected.",
            instance.name
        )))
    }
}

impl Default for GpuLimits {
    fn default() -> Self {
        Self::new(BTreeMap::new(), |_| Ok((0, 0)))
    }
}

impl fmt::Debug for GpuLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GpuLimits").field("fractions", &self.fractions).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: InstanceKind) -> InstanceSpec {
        InstanceSpec {
            name: "m_0_0".into(),
            kind,
            passive: false,
            host_policy: String::new(),
            profiles: Vec::new(),
            dla_core: None,
            rate_limiter: Default::default(),
        }
    }

    #[test]
    fn what_is_refused() {
        let limits = GpuLimits::new([(0, 0.5), (1, 0.0), (3, 1.0)].into(), |device| match device {
            0 => Ok((501, 1001)),
            3 => Err(Error::internal("no answer")),
            _ => Ok((1, 1000)),
        });
        let check = |kind, expected: Result<(), &str>| {
            let got = limits.check(&spec(kind)).map_err(|e| e.with_code());
            assert_eq!(got, expected.map_err(str::to_owned));
        };
        check(InstanceKind::Cpu, Ok(()));
        check(InstanceKind::Model, Ok(()));
        check(InstanceKind::Gpu { device: 2 }, Ok(()));
        let refused = |device: i32| {
            format!(
                "Unavailable: can not create model 'm_0_0': memory limit set for GPU {device} has exceeded, model loading \
                 is rejected."
            )
        };
        check(InstanceKind::Gpu { device: 0 }, Err(&refused(0)));
        check(InstanceKind::Gpu { device: 1 }, Err(&refused(1)));
        check(InstanceKind::Gpu { device: 3 }, Err("Internal: no answer"));
        let half = GpuLimits::new([(0, 0.5)].into(), |_| Ok((500, 1001)));
        half.check(&spec(InstanceKind::Gpu { device: 0 })).unwrap();
    }
}
