//! A library of TensorRT, checked: it has what we call, and is of a version whose vtables are known.

use std::ffi::{CStr, c_void};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::candidates::{VARIABLE, candidates};
use super::error::{INSTALL, LoadError};
use super::shared_object::SharedObject;
use crate::abi::error_recorder::ErrorRecorder;
use crate::abi::logger::Logger;
use crate::abi::object::{Object, untyped};
use crate::log::{Log, LogSink};
use crate::version::{Family, Flavor, Version};

/// What to load, and where its log goes.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The library, or the folder that has it; otherwise what `TENSORRT_LIB` names, otherwise the usual places.
    pub path: Option<PathBuf>,
    /// Take TensorRT-RTX when there is nothing else.
    pub allow_rtx: bool,
    /// Only libraries of this major version.
    pub major: Option<i32>,
    pub log: LogSink,
}

/// A loaded library. It stays loaded until the process ends.
#[derive(Debug)]
pub struct Library {
    path: PathBuf,
    version: Version,
    family: Family,
    flavor: Flavor,
    pub(super) object: SharedObject,
    create_runtime: CreateFunction,
    log: Arc<Log>,
    logger: &'static Logger,
    recorder: &'static ErrorRecorder,
}

/// `createInferRuntime_INTERNAL` and `createInferBuilder_INTERNAL`: the logger, and the version that the caller was
/// compiled for.
pub(crate) type CreateFunction = unsafe extern "C" fn(*mut c_void, i32) -> *mut Object;
type VersionFunction = unsafe extern "C" fn() -> i32;

impl Library {
    /// Loads the first library that can be used. Loading the same one twice costs little.
    ///
    /// # Errors
    /// Every path that was tried, and why it was refused.
    pub fn load(options: &LoadOptions) -> Result<Arc<Self>, LoadError> {
        let executable = std::env::current_exe().ok();
        let directory = executable.as_deref().and_then(Path::parent);
        let chosen = options.path.as_deref();
        let mut tried = Vec::new();
        for path in candidates(chosen, std::env::var_os(VARIABLE), directory, options.allow_rtx) {
            match Self::open(&path, options) {
                Ok(library) => {
                    tracing::debug!(path = %path.display(), version = %library.version, "loaded TensorRT");
                    return Ok(Arc::new(library));
                }
                Err(reason) => tried.push((path, reason)),
            }
        }
        let wanted = options.major.map_or_else(|| "TensorRT".to_owned(), |major| format!("TensorRT {major}"));
        Err(LoadError { wanted, tried, advice: INSTALL })
    }

    /// The version that the library says it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Which vtables it has.
    pub fn family(&self) -> Family {
        self.family
    }

    /// What it was made for.
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// The path that it was loaded from; a bare name if the system found it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it can build plans.
    pub fn has_builder(&self) -> bool {
        self.object.has(CREATE_BUILDER)
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// What TensorRT's functions take as their logger.
    pub(crate) fn logger(&self) -> *mut c_void {
        untyped(self.logger)
    }

    pub(crate) fn error_recorder(&self) -> *mut c_void {
        untyped(self.recorder)
    }

    pub(crate) fn create_runtime(&self) -> CreateFunction {
        self.create_runtime
    }

    /// `createInferBuilder_INTERNAL`, where the library has a builder.
    pub(crate) fn create_builder(&self) -> Option<CreateFunction> {
        // SAFETY: the type of that function in TensorRT 10 and 11.
        unsafe { self.object.function(CREATE_BUILDER) }
    }

    /// What `createInfer…` is told: the version of the library itself, since no header was compiled in.
    pub(crate) fn version_number(&self) -> i32 {
        // SAFETY: the type of that function in every TensorRT.
        let function: Option<VersionFunction> = unsafe { self.object.function(VERSION) };
        // SAFETY: it takes nothing and returns a number.
        function.map_or(0, |function| unsafe { function() })
    }

    fn open(path: &Path, options: &LoadOptions) -> Result<Self, String> {
        let object = SharedObject::open(path)?;
        let version = version(&object)?;
        let flavor = flavor(path, &object);
        let family =
            Family::of(version, flavor).map_err(|why| format!("it is {} {version}, {why}", flavor.name()))?;
        if options.major.is_some_and(|major| major != version.major) {
            return Err(format!("it is {} {version}", flavor.name()));
        }
        // SAFETY: the type of that function in TensorRT 10 and 11.
        let create_runtime = unsafe { object.function(CREATE_RUNTIME) };
        let create_runtime = create_runtime.ok_or_else(|| missing(CREATE_RUNTIME))?;
        if version.minor > family.newest_known(flavor) {
            tracing::warn!(
                "{} {version} is newer than {}.{}, the newest that this server was checked against",
                flavor.name(),
                version.major,
                family.newest_known(flavor),
            );
        }
        let log = Arc::new(Log::new(options.log.clone()));
        Ok(Self {
            path: path.to_owned(),
            version,
            family,
            flavor,
            object,
            create_runtime,
            logger: Logger::leak(family, Arc::clone(&log)),
            recorder: ErrorRecorder::leak(Arc::clone(&log)),
            log,
        })
    }
}

const VERSION: &CStr = c"getInferLibVersion";
const CREATE_RUNTIME: &CStr = c"createInferRuntime_INTERNAL";
const CREATE_BUILDER: &CStr = c"createInferBuilder_INTERNAL";

fn version(object: &SharedObject) -> Result<Version, String> {
    let call = |name: &CStr| {
        // SAFETY: the type of these functions in every TensorRT.
        let function: Option<VersionFunction> = unsafe { object.function(name) };
        // SAFETY: they take nothing and return a number.
        function.map(|function| unsafe { function() }).ok_or_else(|| missing(name))
    };
    let number = call(VERSION)?;
    let Ok(major) = call(c"getInferLibMajorVersion") else {
        // Before TensorRT 10, which has functions for the parts: 8601 is 8.6.1.
        return Ok(Version { major: number / 1000, minor: number / 100 % 10, patch: number % 100, build: 0 });
    };
    Ok(Version {
        major,
        minor: call(c"getInferLibMinorVersion")?,
        patch: call(c"getInferLibPatchVersion")?,
        build: call(c"getInferLibBuildVersion")?,
    })
}

fn flavor(path: &Path, object: &SharedObject) -> Flavor {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.contains("tensorrt_rtx") {
        Flavor::Rtx
    } else if object.has(CREATE_BUILDER) {
        Flavor::Full
    } else {
        Flavor::Lean
    }
}

fn missing(name: &CStr) -> String {
    format!("it does not export {}", name.to_string_lossy())
}
