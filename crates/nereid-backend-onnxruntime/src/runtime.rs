//! The one environment of the process and what every session shares: the C API, the CPU allocator, the
//! list of providers. It is made with the first model and stays until the process ends.

use std::ffi::{CStr, c_char, c_int};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::OnceLock;

use nereid_core::{Error, Result};
use ort::sys::{self, OrtAllocator, OrtApi, OrtEnv, OrtStatusPtr};
use parking_lot::Mutex;

use crate::error::check;
use crate::raw::{MemoryInfo, ThreadingOptions};
use crate::settings::Settings;
use crate::{library, logging, malloc};

/// ONNX Runtime, loaded.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) api: &'static OrtApi,
    pub(crate) env: NonNull<OrtEnv>,
    /// The library's CPU allocator; never released.
    pub(crate) allocator: NonNull<OrtAllocator>,
    /// Where request and response memory lies.
    pub(crate) cpu: MemoryInfo,
    /// Names such as `CUDAExecutionProvider` that this build of the library knows.
    pub(crate) providers: Vec<String>,
    /// Sessions must use the shared thread pools.
    pub(crate) global_pool: bool,
    /// Held while a session with an accelerator is made: not all providers allow two at once.
    pub(crate) accelerated: Mutex<()>,
}

// SAFETY: environment and default allocator may be used from any thread at once, by their documentation.
unsafe impl Send for Runtime {}
// SAFETY: as above.
unsafe impl Sync for Runtime {}

impl Runtime {
    /// The runtime, loaded on the first call. What the first caller asks for holds for the process:
    /// ONNX Runtime allows one library and one environment.
    ///
    /// # Errors
    /// There is no usable library, or it refuses the settings. The next call tries again.
    pub(crate) fn get(
        library: Option<&Path>,
        settings: &Settings,
        cpu_threads: usize,
    ) -> Result<&'static Self> {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        static LOADING: Mutex<()> = Mutex::new(());
        if let Some(runtime) = RUNTIME.get() {
            return Ok(runtime);
        }
        let _guard = LOADING.lock();
        if let Some(runtime) = RUNTIME.get() {
            return Ok(runtime);
        }
        malloc::give_back();
        library::load(library)?;
        let runtime = Self::new(settings, cpu_threads)?;
        Ok(RUNTIME.get_or_init(|| runtime))
    }

    /// Whether this build of the library has the provider named `name`.
    pub(crate) fn has_provider(&self, name: &str) -> bool {
        self.providers.iter().any(|provider| provider == name)
    }

    /// The text that `make` allocates.
    ///
    /// # Errors
    /// The status that `make` returned.
    pub(crate) fn text(
        &self,
        make: impl FnOnce(*mut OrtAllocator, *mut *mut c_char) -> OrtStatusPtr,
    ) -> Result<String> {
        let (allocator, mut text) = (self.allocator.as_ptr(), std::ptr::null_mut());
        check(self.api, make(allocator, &mut text))?;
        if text.is_null() {
            return Ok(String::new());
        }
        // SAFETY: on success it is a C string.
        let copy = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
        // SAFETY: it came from this allocator and is not used any more.
        check(self.api, unsafe { (self.api.AllocatorFree)(allocator, text.cast()) })?;
        Ok(copy)
    }

    fn new(settings: &Settings, cpu_threads: usize) -> Result<Self> {
        let api = ort::api();
        let env = environment(api, settings, cpu_threads)?;
        // SAFETY: the environment was just made. For libraries that do not know the variable in `telemetry`.
        check(api, unsafe { (api.DisableTelemetryEvents)(env.as_ptr()) })?;
        let mut allocator = std::ptr::null_mut();
        // SAFETY: the argument is a place for the pointer.
        check(api, unsafe { (api.GetAllocatorWithDefaultOptions)(&mut allocator) })?;
        Ok(Self {
            api,
            env,
            allocator: NonNull::new(allocator).ok_or_else(nothing)?,
            cpu: MemoryInfo::create(|out| {
                let (kind, memory) =
                    (sys::OrtAllocatorType::OrtDeviceAllocator, sys::OrtMemType::OrtMemTypeDefault);
                // SAFETY: `out` is a place for the pointer.
                unsafe { (api.CreateCpuMemoryInfo)(kind, memory, out) }
            })?,
            providers: providers(api)?,
            global_pool: settings.global_pool,
            accelerated: Mutex::new(()),
        })
    }
}

fn environment(api: &OrtApi, settings: &Settings, cpu_threads: usize) -> Result<NonNull<OrtEnv>> {
    let mut env = std::ptr::null_mut();
    let (log, parameter, level) = (logging::log, std::ptr::null_mut(), logging::LEVEL);
    let id = c"nereid".as_ptr();
    let status = if settings.global_pool {
        let pools = pools(api, settings, cpu_threads)?;
        let pools = pools.as_ptr();
        // SAFETY: every pointer is valid during the call, which copies what it keeps.
        unsafe {
            (api.CreateEnvWithCustomLoggerAndGlobalThreadPools)(log, parameter, level, id, pools, &mut env)
        }
    } else {
        // SAFETY: as above.
        unsafe { (api.CreateEnvWithCustomLogger)(log, parameter, level, id, &mut env) }
    };
    check(api, status)?;
    NonNull::new(env).ok_or_else(nothing)
}

fn pools(api: &OrtApi, settings: &Settings, cpu_threads: usize) -> Result<ThreadingOptions> {
    let quota = c_int::try_from(cpu_threads.max(1)).unwrap_or(c_int::MAX);
    // SAFETY: `out` is a place for the pointer.
    let pools = ThreadingOptions::create(|out| unsafe { (api.CreateThreadingOptions)(out) })?;
    let intra = settings.intra_threads.unwrap_or(quota);
    // SAFETY: the options live.
    check(api, unsafe { (api.SetGlobalIntraOpNumThreads)(pools.as_ptr(), intra) })?;
    // Idle unless a model asks for parallel execution, which a pool of 1 would turn off without a word.
    let inter = settings.inter_threads.unwrap_or(quota);
    // SAFETY: as above.
    check(api, unsafe { (api.SetGlobalInterOpNumThreads)(pools.as_ptr(), inter) })?;
    // SAFETY: as above.
    check(api, unsafe { (api.SetGlobalSpinControl)(pools.as_ptr(), 0) })?;
    Ok(pools)
}

fn providers(api: &OrtApi) -> Result<Vec<String>> {
    let (mut names, mut count) = (std::ptr::null_mut(), 0);
    // SAFETY: the arguments are places for the list and its length.
    check(api, unsafe { (api.GetAvailableProviders)(&mut names, &mut count) })?;
    let mut providers = Vec::new();
    for index in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the list has `count` entries.
        let name = unsafe { *names.wrapping_add(index) };
        // SAFETY: each is a C string that lives until the list is released.
        providers.push(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned());
    }
    // SAFETY: the list is ours; the names were copied.
    check(api, unsafe { (api.ReleaseAvailableProviders)(names, count) })?;
    Ok(providers)
}

fn nothing() -> Error {
    Error::internal("onnx runtime gave no object")
}
