//! From a plan file to an engine (`LoadPlan` in Triton's backend), with errors that say what to do. Keeps nothing: which
//! instances share an engine is for `engines` to say.

use std::path::Path;
use std::sync::Arc;

use nereid_core::{Error, Result};
use nereid_cuda::Device;
use nereid_tensorrt::{Engine, Runtime, TensorRtError};

use crate::engine_file;
use crate::platform::{Loaded, Platform};

/// The engine of the plan at `path`, on `device` and, if a number is given, on that DLA core of it. Messages about a missing
/// file name `instance`.
///
/// # Errors
/// No file, no library, no such core, or a plan that TensorRT refuses.
pub(crate) fn load(
    platform: &Platform,
    device: &Arc<dyn Device>,
    dla_core: Option<i64>,
    path: &Path,
    instance: &str,
) -> Result<Arc<Engine>> {
    let plan = engine_file::read(path, instance)?;
    let loaded = platform.library()?;
    let _creating = platform.creating();
    let runtime = runtime(platform, &loaded, device, dla_core)?;
    runtime.deserialize(&plan).map_err(|e| refused(&e, path, plan.len(), device, &loaded))
}

fn runtime(
    platform: &Platform,
    loaded: &Loaded,
    device: &Arc<dyn Device>,
    dla_core: Option<i64>,
) -> Result<Arc<Runtime>> {
    let runtime = Runtime::new(&loaded.library, device)
        .map_err(|e| Error::internal(format!("unable to create TensorRT runtime: {e}")))?;
    if platform.settings.version_compatible {
        runtime.set_host_code_allowed(true);
    }
    let Some(core) = dla_core.filter(|core| *core != -1) else { return Ok(runtime) };
    let count = runtime.dla_cores();
    match i32::try_from(core).ok().filter(|core| (0..count).contains(core)) {
        Some(core) => runtime.set_dla_core(core),
        None => {
            return Err(Error::invalid_arg(format!(
                "unable to create TensorRT runtime with DLA Core ID: {core}, available number of DLA cores: {count}"
            )));
        }
    }
    Ok(runtime)
}

/// What to do about a plan of `size` bytes that TensorRT refuses.
fn refused(
    error: &TensorRtError,
    path: &Path,
    size: usize,
    device: &Arc<dyn Device>,
    loaded: &Loaded,
) -> Error {
    let Loaded { library, plugin_failures } = loaded;
    let info = device.info();
    let mut text = format!("unable to create TensorRT engine: {error}. ");
    if error.out_of_memory {
        text += &format!("GPU {} ({}) has too little memory left", info.ordinal, info.name);
        if let Ok(memory) = device.memory() {
            text += &format!(": {} of {} MiB are free", memory.free >> 20, memory.total >> 20);
        }
        text += ". Unload models, or give this one other GPUs in instance_group";
        return Error::internal(text);
    }
    text += &format!(
        "'{}' ({size} bytes) must be the complete plan of an engine that {} {} built for a {} or another GPU of compute \
         capability {}: copy it again, or build it again here",
        path.display(),
        library.flavor().name(),
        library.version(),
        info.name,
        engine_file::capability(info.compute_capability)
    );
    text += "; one that was built to be version-compatible needs \
             --backend-config=tensorrt,version-compatible=true";
    for failure in &**plugin_failures {
        text += &format!("; {failure}");
    }
    Error::internal(text)
}
