//! From a plan file to an engine (`LoadPlan` in Triton's backend), with errors that say what to do. Keeps nothing: which
//! instances share an engine is for `engines` to say.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use nereid_core::{Error, Result};
use nereid_cuda::Device;
use nereid_tensorrt::{Engine, PlanError, Runtime};

use crate::engine_file;
use crate::platform::Platform;

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
    let _creating = platform.creating();
    let no_core = Cell::new(None);
    let configure = |runtime: &Runtime| {
        platform.prepare(runtime.library());
        if platform.settings.version_compatible {
            runtime.set_host_code_allowed(true);
        }
        if let Some(core) = dla_core.filter(|core| *core != -1) {
            no_core.set(choose_core(runtime, core).err());
        }
    };
    let engine = platform.libraries().deserialize(&plan, device, &configure);
    if let Some(error) = no_core.take() {
        return Err(error);
    }
    engine.map_err(|e| refused(&e, path, plan.len(), device, platform))
}

fn choose_core(runtime: &Runtime, core: i64) -> Result<()> {
    let count = runtime.dla_cores();
    let known = i32::try_from(core).ok().filter(|core| (0..count).contains(core));
    let number = known.ok_or_else(|| {
        Error::invalid_arg(format!(
            "unable to create TensorRT runtime with DLA Core ID: {core}, available number of DLA cores: {count}"
        ))
    })?;
    runtime.set_dla_core(number);
    Ok(())
}

/// What to do about a plan of `size` bytes that TensorRT refuses.
fn refused(
    error: &PlanError,
    path: &Path,
    size: usize,
    device: &Arc<dyn Device>,
    platform: &Platform,
) -> Error {
    let (by, cause) = match error {
        PlanError::Load(e) => return Error::unavailable(e.to_string()),
        PlanError::Refused { by, error, .. } => (by, error),
    };
    if cause.call == "createInferRuntime" {
        return Error::internal(format!("unable to create TensorRT runtime: {error}"));
    }
    let info = device.info();
    let mut text = format!("unable to create TensorRT engine: {error}. ");
    if cause.out_of_memory {
        text += &format!("GPU {} ({}) has too little memory left", info.ordinal, info.name);
        if let Ok(memory) = device.memory() {
            text += &format!(": {} of {} MiB are free", memory.free >> 20, memory.total >> 20);
        }
        text += ". Unload models, or give this one other GPUs in instance_group";
        return Error::internal(text);
    }
    text += &format!(
        "'{}' ({size} bytes) must be the complete plan of an engine that {by} built for a {} or another GPU of compute \
         capability {}: copy it again, or build it again here; one that was built to be version-compatible needs \
         --backend-config=tensorrt,version-compatible=true",
        path.display(),
        info.name,
        engine_file::capability(info.compute_capability)
    );
    for failure in platform.plugin_failures() {
        text += &format!("; {failure}");
    }
    Error::internal(text)
}
