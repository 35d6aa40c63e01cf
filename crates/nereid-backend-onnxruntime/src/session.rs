//! Makes sessions: options from a model's config, then the session itself. The order in which options
//! are read, and thus which mistake is reported first, is Triton's (`ModelState`, `LoadModel`).

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nereid_core::{Error, ModelConfig, Result};
use ort::sys::{ExecutionMode, GraphOptimizationLevel, OrtLoggingLevel, OrtSessionOptions, OrtStatusPtr};

use crate::error::check;
use crate::raw::{RunOptions, Session, SessionOptions, c_string};
use crate::runtime::Runtime;
use crate::settings::{boolean, integer};
use crate::threads::{self, Share, Threads};

/// The one session setting that Triton passes on by its ONNX Runtime name.
const DEVICE_INITIALIZERS: &str = "session.use_device_allocator_for_initializers";
/// The one run setting that Triton passes on by its ONNX Runtime name.
const ARENA_SHRINKAGE: &str = "memory.enable_memory_arena_shrinkage";

/// Options for a session that serves the model of `config`, without execution providers.
///
/// # Errors
/// `InvalidArg` for a parameter that does not parse.
pub(crate) fn serving_options(
    runtime: &Runtime,
    config: &ModelConfig,
    share: Share,
) -> Result<SessionOptions> {
    let options = new_options(runtime)?;
    let set = Setter { runtime, options: &options };
    // The numbers of `optimization.graph.level` are Triton's, not ONNX Runtime's.
    set.graph_level(match config.optimization.graph_level {
        Some(-1) => GraphOptimizationLevel::ORT_ENABLE_BASIC,
        Some(1) => GraphOptimizationLevel::ORT_ENABLE_EXTENDED,
        Some(2) => GraphOptimizationLevel::ORT_DISABLE_ALL,
        _ => GraphOptimizationLevel::ORT_ENABLE_ALL,
    })?;
    let parameter = |key: &str| config.parameters.get(key);
    let parallel = match parameter("execution_mode").map(|mode| integer(mode)).transpose()?.unwrap_or(0) {
        0 => false,
        1 => true,
        mode => {
            return Err(Error::invalid_arg(format!(
                "Invalid configuration value provided. Expected values for  execution_mode are 0 or 1 but got {mode} ."
            )));
        }
    };
    set.execution_mode(if parallel { ExecutionMode::ORT_PARALLEL } else { ExecutionMode::ORT_SEQUENTIAL })?;
    // With shared pools Triton does not even read the sizes.
    let own = !runtime.global_pool;
    set.threads(own.then(|| threads::plan(&config.parameters, parallel, share)).transpose()?)?;
    if let Some(value) = parameter(DEVICE_INITIALIZERS) {
        set.entry(DEVICE_INITIALIZERS, value)?;
    }
    if let Some(value) = parameter("enable_mem_arena") {
        let api = runtime.api;
        set.flag(if boolean(value)? { api.EnableCpuMemArena } else { api.DisableCpuMemArena })?;
    }
    if let Some(value) = parameter("enable_mem_pattern") {
        let api = runtime.api;
        set.flag(if boolean(value)? { api.EnableMemPattern } else { api.DisableMemPattern })?;
    }
    Ok(options)
}

/// Options for a session that is only asked about its graph: nothing is optimised or repacked.
///
/// # Errors
/// None are expected.
pub(crate) fn inspection_options(runtime: &Runtime) -> Result<SessionOptions> {
    let options = new_options(runtime)?;
    let set = Setter { runtime, options: &options };
    set.graph_level(GraphOptimizationLevel::ORT_DISABLE_ALL)?;
    set.threads((!runtime.global_pool).then_some(Threads { intra_op: 1, inter_op: 1 }))?;
    set.entry("session.disable_prepacking", "1")?;
    set.flag(runtime.api.DisableCpuMemArena)?;
    Ok(options)
}

/// Lets `options` find the custom operators of the model: each library beside the model if it is there,
/// else wherever the loader looks.
///
/// # Errors
/// A library cannot be loaded.
pub(crate) fn register_op_libraries(
    runtime: &Runtime,
    options: &SessionOptions,
    libraries: &[String],
    model_dir: &Path,
) -> Result<()> {
    for library in libraries {
        let beside = model_dir.join(library);
        let path = if beside.exists() { beside.as_path() } else { Path::new(library) };
        let path = c_string(path.as_os_str().as_bytes())?;
        // SAFETY: the options and the path live during the call.
        let status = unsafe { (runtime.api.RegisterCustomOpsLibrary_V2)(options.as_ptr(), path.as_ptr()) };
        check(runtime.api, status)?;
    }
    Ok(())
}

/// Loads the graph in `file`; waits its turn if `options` name an accelerator.
///
/// # Errors
/// ONNX Runtime's own, such as a file that is no ONNX model.
pub(crate) fn open(
    runtime: &Runtime,
    file: &Path,
    options: &SessionOptions,
    accelerated: bool,
) -> Result<Session> {
    let path = c_string(file.as_os_str().as_bytes())?;
    let _turn = accelerated.then(|| runtime.accelerated.lock());
    Session::create(|out| {
        let env = runtime.env.as_ptr();
        // SAFETY: environment, path and options live during the call; the session copies what it keeps.
        unsafe { (runtime.api.CreateSession)(env, path.as_ptr(), options.as_ptr(), out) }
    })
}

/// Options for the runs of one instance.
///
/// # Errors
/// `InvalidArg` if the parameter contains NUL.
pub(crate) fn run_options(runtime: &Runtime, config: &ModelConfig) -> Result<RunOptions> {
    // SAFETY: `out` is a place for the pointer.
    let options = RunOptions::create(|out| unsafe { (runtime.api.CreateRunOptions)(out) })?;
    // A run that fails answers with its error; it does not also fill the log at the clients' will.
    let fatal = OrtLoggingLevel::ORT_LOGGING_LEVEL_FATAL as i32;
    // SAFETY: the options live.
    check(runtime.api, unsafe { (runtime.api.RunOptionsSetRunLogSeverityLevel)(options.as_ptr(), fatal) })?;
    if let Some(value) = config.parameters.get(ARENA_SHRINKAGE) {
        let (key, value) = (c_string(ARENA_SHRINKAGE)?, c_string(value.as_str())?);
        // SAFETY: the options and both strings live during the call.
        let status =
            unsafe { (runtime.api.AddRunConfigEntry)(options.as_ptr(), key.as_ptr(), value.as_ptr()) };
        check(runtime.api, status)?;
    }
    Ok(options)
}

/// Lets runs with `options` return when their work is in the session's stream: whoever runs them waits for it.
///
/// # Errors
/// None are expected.
pub(crate) fn leave_under_way(runtime: &Runtime, options: &RunOptions) -> Result<()> {
    let (key, value) = (c"disable_synchronize_execution_providers".as_ptr(), c"1".as_ptr());
    // SAFETY: the options and both strings live during the call.
    check(runtime.api, unsafe { (runtime.api.AddRunConfigEntry)(options.as_ptr(), key, value) })
}

fn new_options(runtime: &Runtime) -> Result<SessionOptions> {
    // SAFETY: `out` is a place for the pointer.
    SessionOptions::create(|out| unsafe { (runtime.api.CreateSessionOptions)(out) })
}

/// Sets one option after the other.
struct Setter<'a> {
    runtime: &'a Runtime,
    options: &'a SessionOptions,
}

impl Setter<'_> {
    fn graph_level(&self, level: GraphOptimizationLevel) -> Result<()> {
        let api = self.runtime.api;
        // SAFETY: the options live.
        check(api, unsafe { (api.SetSessionGraphOptimizationLevel)(self.options.as_ptr(), level) })
    }

    fn execution_mode(&self, mode: ExecutionMode) -> Result<()> {
        let api = self.runtime.api;
        // SAFETY: the options live.
        check(api, unsafe { (api.SetSessionExecutionMode)(self.options.as_ptr(), mode) })
    }

    /// Pools of the given sizes whose threads sleep when there is nothing to do, or the shared pools.
    fn threads(&self, own: Option<Threads>) -> Result<()> {
        let api = self.runtime.api;
        let Some(threads) = own else { return self.flag(api.DisablePerSessionThreads) };
        // SAFETY: the options live.
        check(api, unsafe { (api.SetIntraOpNumThreads)(self.options.as_ptr(), threads.intra_op) })?;
        // SAFETY: the options live.
        check(api, unsafe { (api.SetInterOpNumThreads)(self.options.as_ptr(), threads.inter_op) })?;
        self.entry("session.intra_op.allow_spinning", "0")?;
        self.entry("session.inter_op.allow_spinning", "0")
    }

    fn entry(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (c_string(key)?, c_string(value)?);
        let (key, value): (&CStr, &CStr) = (&key, &value);
        let api = self.runtime.api;
        // SAFETY: the options and both strings live during the call.
        check(api, unsafe {
            (api.AddSessionConfigEntry)(self.options.as_ptr(), key.as_ptr(), value.as_ptr())
        })
    }

    fn flag(&self, set: unsafe extern "system" fn(*mut OrtSessionOptions) -> OrtStatusPtr) -> Result<()> {
        // SAFETY: the options live, and `set` is a setter of session options that takes nothing else.
        check(self.runtime.api, unsafe { set(self.options.as_ptr()) })
    }
}
