//! The backend's face to the rest of Nereid. Making it is cheap: the library is loaded with the first
//! model.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Once;

use nereid_core::backend::{AutoComplete, AutoCompleteRequest, Backend, LoadRequest, Model};
use nereid_core::{ModelConfig, Result};
use nereid_cuda::PinnedPool;

use crate::accelerators::{self, Device};
use crate::gpu::Gpus;
use crate::graph::Graph;
use crate::model::OnnxModel;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::{autocomplete, model_file, session, telemetry};

/// What an [`OnnxRuntime`] needs to know.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `libonnxruntime.so`. `None`: the environment variable `ORT_DYLIB_PATH`, else beside the executable,
    /// in `../lib` of it, or wherever the loader looks.
    pub library: Option<PathBuf>,
    /// CPUs that the process may use at once (the container's quota); 0 counts as 1.
    pub cpu_threads: usize,
    /// `--backend-config=onnxruntime,<key>=<value>`: `enable-global-threadpool`, and for its pools
    /// `intra_op_thread_count` and `inter_op_thread_count`. Others are ignored.
    pub settings: BTreeMap<String, String>,
    /// Where instances on GPUs have their tensors.
    pub gpus: Gpus,
    /// In which page-locked memory counts. `None`: a pool of its own, without a limit.
    pub pinned_pool: Option<Arc<PinnedPool>>,
}

/// The `onnxruntime` backend. The library and its thread pools exist once per process: the first model
/// that any `OnnxRuntime` loads decides them.
#[derive(Debug)]
pub struct OnnxRuntime {
    library: Option<PathBuf>,
    cpu_threads: usize,
    settings: Settings,
    gpus: Gpus,
    pinned_pool: Arc<PinnedPool>,
}

impl OnnxRuntime {
    /// A backend. Does not touch the library, but turns its telemetry off in the environment of the process: make the
    /// first one before there are threads of foreign code.
    ///
    /// # Errors
    /// `InvalidArg` for a setting that does not parse.
    pub fn new(options: Options) -> Result<Self> {
        let Options { library, cpu_threads, settings, gpus, pinned_pool } = options;
        telemetry::off();
        let settings = Settings::parse(&settings)?;
        let pinned_pool = pinned_pool.unwrap_or_else(|| PinnedPool::new(usize::MAX));
        Ok(Self { library, cpu_threads: cpu_threads.max(1), settings, gpus, pinned_pool })
    }

    /// # Errors
    /// `Unavailable` if there is no usable library.
    fn runtime(&self) -> Result<&'static Runtime> {
        Runtime::get(self.library.as_deref(), &self.settings, self.cpu_threads)
    }
}

impl Backend for OnnxRuntime {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn uses_gpus(&self) -> bool {
        static TOLD: Once = Once::new();
        // Without the library no model loads, wherever it is.
        let uses = !matches!(self.gpus, Gpus::Driver)
            || self.runtime().map_or(true, |runtime| runtime.has_provider("CUDAExecutionProvider"));
        if !uses {
            TOLD.call_once(|| {
                tracing::warn!(
                    "ONNX Runtime has no CUDA provider here: models without an instance_group of KIND_GPU run on the CPU"
                );
            });
        }
        uses
    }

    fn auto_complete(&self, request: &AutoCompleteRequest<'_>) -> Result<AutoComplete> {
        if request.has_inputs() && request.has_outputs() {
            return Ok(AutoComplete::default()); // Triton then leaves batching alone, too
        }
        let runtime = self.runtime()?;
        let file = model_file::locate(request.model_file, request.model)?;
        let options = session::inspection_options(runtime)?;
        let mut accelerated = false;
        if request.on_gpu() && matches!(self.gpus, Gpus::Driver) {
            // A graph may have operators that only the GPU has.
            let config = ModelConfig { name: request.model.to_owned(), ..Default::default() };
            accelerated = accelerators::append(runtime, &options, &config, Device::Gpu(0, None))?;
        }
        session::register_op_libraries(runtime, &options, request.op_libraries, request.model_dir)?;
        let session = session::open(runtime, &file, &options, accelerated)?;
        autocomplete::complete(request, &Graph::read(runtime, &session)?)
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Model>> {
        let gpus = (self.gpus.clone(), self.pinned_pool.clone());
        Ok(Box::new(OnnxModel::load(self.runtime()?, request, self.cpu_threads, gpus)?))
    }
}
