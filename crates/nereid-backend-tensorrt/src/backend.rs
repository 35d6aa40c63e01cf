//! The backend's face to the rest of Nereid. Making it is cheap: GPUs and TensorRT are looked for with the first model.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use nereid_core::backend::{AutoComplete, AutoCompleteRequest, Backend, LoadRequest, Model};
use nereid_core::config::InstanceKind;
use nereid_core::{Error, Result};
use nereid_cuda::{Device, PinnedPool};

use crate::autocomplete;
use crate::engine_file;
use crate::engine_info::EngineInfo;
use crate::load_plan;
use crate::model::TensorRtModel;
use crate::platform::Platform;
use crate::settings::Settings;

/// What a [`TensorRt`] needs to know.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `libnvinfer`, or the folder that it is in. `None`: what the environment variable `TENSORRT_LIB` names, else beside
    /// the executable, in `../lib` of it, or wherever the loader looks.
    pub library: Option<PathBuf>,
    /// `--backend-config=tensorrt,<key>=<value>`: `lib` (instead of `library`), `plugins`, `version-compatible`,
    /// `execution-policy` and `coalesce-request-input`. Others are ignored.
    pub settings: BTreeMap<String, String>,
    /// The GPUs to use. `None`: those of the driver.
    pub devices: Option<Vec<Arc<dyn Device>>>,
    /// In which page-locked memory counts. `None`: a pool of its own, without a limit.
    pub pinned_pool: Option<Arc<PinnedPool>>,
    /// Least compute capability of a GPU that is used.
    pub min_compute_capability: f64,
}

/// The `tensorrt` backend. The library stays loaded until the process ends.
#[derive(Debug)]
pub struct TensorRt {
    platform: Arc<Platform>,
}

impl TensorRt {
    /// A backend. Touches neither GPUs nor the library.
    ///
    /// # Errors
    /// `InvalidArg` for a setting that does not parse.
    pub fn new(options: Options) -> Result<Self> {
        let Options { library, settings, devices, pinned_pool, min_compute_capability } = options;
        let settings = Settings::parse(&settings)?;
        let platform =
            Arc::new(Platform::new(settings, library, devices, pinned_pool, min_compute_capability));
        Ok(Self { platform })
    }

    /// Refuses a model unless all of its instances are on GPUs.
    fn check_kinds(&self, request: &LoadRequest<'_>) -> Result<()> {
        let on_gpu = |kind: InstanceKind| matches!(kind, InstanceKind::Gpu { .. });
        if request.config.instances.iter().all(|spec| on_gpu(spec.kind)) {
            return Ok(());
        }
        let name = &request.config.name;
        let text = format!("unable to load model '{name}', TensorRT backend supports only GPU device");
        Err(Error::invalid_arg(match self.platform.devices() {
            Ok(_) => text,
            Err(why) => format!("{text}, and {why}"),
        }))
    }
}

impl Backend for TensorRt {
    fn name(&self) -> &'static str {
        "tensorrt"
    }

    fn auto_complete(&self, request: &AutoCompleteRequest<'_>) -> Result<AutoComplete> {
        // A model that starts with another group cannot be loaded, and says so then.
        let Some(gpu) = request.groups.first().and_then(|group| group.gpu) else {
            return Ok(AutoComplete::default());
        };
        let device = self.platform.device(gpu)?;
        let capability = engine_file::capability(device.info().compute_capability);
        let named = request.cc_model_filenames.get(capability.as_str()).copied();
        let path = engine_file::locate(request.version_dir, request.model_file, named);
        let engine = load_plan::load(&self.platform, device, None, &path, request.model).map_err(|e| {
            let path = path.display();
            // Triton keeps the reason to itself.
            Error::internal(format!("unable to load plan file to auto complete config: {path}: {e}"))
        })?;
        let info = EngineInfo { tensors: engine.tensors(), profiles: engine.profiles() };
        autocomplete::complete(request, info)
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Model>> {
        self.check_kinds(request)?;
        Ok(Box::new(TensorRtModel::new(&self.platform, request)?))
    }
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
