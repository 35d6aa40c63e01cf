//! Begins to read the GPUs when the server starts, and says how metrics name them. How they are read is in `nvml`.

use std::sync::Arc;
use std::time::Duration;

use super::{Readings, cuda};

/// Set in images of Triton that have no CUDA: GPUs that are there all the same are none of the server's.
const CPU_ONLY: &str = "TRITON_SERVER_CPU_ONLY";

/// Readings of the GPUs that CUDA uses, at least `interval` apart. One line in the log says why there are none.
pub(crate) fn start(interval: Duration) -> Option<Readings> {
    if is_cpu_only() {
        tracing::info!("GPU metrics will not be available: {CPU_ONLY} is set");
        return None;
    }
    #[cfg(feature = "nvml")]
    return Readings::start(interval, |turns| super::nvml::run(None, cuda::gpus, turns));
    #[cfg(not(feature = "nvml"))]
    {
        let _ = interval;
        tracing::info!("GPU metrics will not be available: this program was built without them");
        None
    }
}

/// Names of the GPUs in CUDA's order, for the label `gpu_uuid` of models; none without CUDA.
pub(crate) fn uuids() -> Vec<Arc<str>> {
    let gpus = if is_cpu_only() { None } else { cuda::gpus() };
    gpus.and_then(Result::ok).into_iter().flatten().map(|gpu| gpu.uuid.into()).collect()
}

fn is_cpu_only() -> bool {
    std::env::var_os(CPU_ONLY).is_some()
}
