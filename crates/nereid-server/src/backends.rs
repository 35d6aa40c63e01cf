//! The backends that this build has, each a cargo feature. This is the only place that names them.

use std::sync::Arc;

use nereid_core::Result;
use nereid_core::backend::Backend;

use crate::cli::Options;
#[cfg(feature = "onnxruntime")]
use crate::container::Container;
use crate::gpus::Gpus;

type Constructor = fn(&Options, &Gpus) -> Result<Arc<dyn Backend>>;

const CONSTRUCTORS: &[Constructor] = &[
    #[cfg(feature = "identity")]
    identity,
    #[cfg(feature = "onnxruntime")]
    onnxruntime,
    #[cfg(feature = "tensorrt")]
    tensorrt,
];

/// Every backend of this build, on `gpus`.
///
/// # Errors
/// A setting of `--backend-config` makes no sense.
pub(crate) fn all(options: &Options, gpus: &Gpus) -> Result<Vec<Arc<dyn Backend>>> {
    CONSTRUCTORS.iter().map(|constructor| constructor(options, gpus)).collect()
}

#[cfg(feature = "identity")]
fn identity(_: &Options, _: &Gpus) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(nereid_backend_identity::Identity::default()))
}

#[cfg(feature = "onnxruntime")]
fn onnxruntime(options: &Options, gpus: &Gpus) -> Result<Arc<dyn Backend>> {
    let cpu_threads = Container::read().cpus.threads();
    let settings = options.backends.of("onnxruntime");
    let options = nereid_backend_onnxruntime::Options { cpu_threads, settings, ..Default::default() };
    #[cfg(feature = "cuda")]
    let options = nereid_backend_onnxruntime::Options { pinned_pool: gpus.pinned_pool(), ..options };
    #[cfg(not(feature = "cuda"))]
    let _ = gpus;
    Ok(Arc::new(nereid_backend_onnxruntime::OnnxRuntime::new(options)?))
}

#[cfg(feature = "tensorrt")]
fn tensorrt(options: &Options, gpus: &Gpus) -> Result<Arc<dyn Backend>> {
    let settings = options.backends.of("tensorrt");
    let options = nereid_backend_tensorrt::Options {
        settings,
        pinned_pool: gpus.pinned_pool(),
        min_compute_capability: options.gpus.min_compute_capability,
        ..Default::default()
    };
    Ok(Arc::new(nereid_backend_tensorrt::TensorRt::new(options)?))
}

#[cfg(test)]
#[cfg(feature = "tensorrt")]
#[path = "tensorrt_tests.rs"]
mod tensorrt_tests;
