//! `IRuntime`.

use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::engine::{self, Engine};
use super::golden::{Class, Vtable};
use super::log::{FAILED_ALLOCATION, INFO, INTERNAL_ERROR, Log};
use super::object::{Exclusive, Implementation, Parent, Public, create};
use super::plan::Plan;

pub struct Runtime {
    log: Log,
    engines: Parent,
    exclusive: Exclusive,
    host_code: AtomicBool,
    threads: AtomicI32,
    dla_core: AtomicI32,
}

type This<'a> = &'a Implementation<Runtime>;

pub fn new(logger: *mut c_void) -> *mut Public<Runtime> {
    static VTABLE: OnceLock<Vtable> = OnceLock::new();
    let vtable = *VTABLE.get_or_init(|| {
        Class::new("VRuntime")
            .method("deserializeCudaEngine(const void *, std::size_t)", deserialize as *const ())
            .method("setDLACore(int32_t)", set_dla_core as *const ())
            .method("getDLACore()", dla_core as *const ())
            .method("getNbDLACores()", dla_cores as *const ())
            .method("setErrorRecorder(IErrorRecorder *)", set_error_recorder as *const ())
            .method("getLogger()", logger_of as *const ())
            .method("setMaxThreads(int32_t)", set_max_threads as *const ())
            .method("getMaxThreads()", max_threads as *const ())
            .method("setEngineHostCodeAllowed(bool)", set_host_code as *const ())
            .method("getEngineHostCodeAllowed()", host_code as *const ())
            .finish()
    });
    create(
        vtable,
        Runtime {
            log: Log::new(logger),
            engines: Parent::new("IRuntime"),
            exclusive: Exclusive::default(),
            host_code: AtomicBool::new(false),
            threads: AtomicI32::new(1),
            dla_core: AtomicI32::new(0),
        },
    )
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.engines.goes();
    }
}

extern "C" fn deserialize(this: This<'_>, blob: *const c_void, size: usize) -> *mut Public<Engine> {
    const NAME: &str = "IRuntime::deserializeCudaEngine";
    let runtime = &this.state;
    let _used = runtime.exclusive.enter("IRuntime");
    runtime.log.line(INFO, &format!("Loaded engine size: {} MiB", size >> 20));
    // SAFETY: the caller says that so many bytes are there.
    let content = unsafe { std::slice::from_raw_parts(blob.cast::<u8>(), size) };
    let plan = match Plan::parse(content) {
        Ok(plan) => plan,
        Err(what) => {
            runtime.log.error(NAME, INTERNAL_ERROR, "1: Serialization", &what);
            return std::ptr::null_mut();
        }
    };
    if plan.operation == "oom" {
        let what = "Requested size was 1099511627776 bytes.";
        runtime.log.error(NAME, FAILED_ALLOCATION, "2: OutOfMemory", what);
        return std::ptr::null_mut();
    }
    engine::new(plan, runtime.log.clone(), runtime.engines.child())
}

extern "C" fn set_dla_core(this: This<'_>, core: i32) {
    if core < dla_cores(this) {
        this.state.dla_core.store(core, Ordering::SeqCst);
    } else {
        let what = format!("Parameter check failed, condition: dlaCore < getNbDLACores(). dlaCore = {core}.");
        this.state.log.usage_error("IRuntime::setDLACore", &what);
    }
}

extern "C" fn dla_core(this: This<'_>) -> i32 {
    this.state.dla_core.load(Ordering::SeqCst)
}

extern "C" fn dla_cores(_this: This<'_>) -> i32 {
    2
}

extern "C" fn set_error_recorder(this: This<'_>, recorder: *mut c_void) {
    this.state.log.set_recorder(recorder);
}

extern "C" fn logger_of(this: This<'_>) -> *mut c_void {
    this.state.log.logger()
}

extern "C" fn set_max_threads(this: This<'_>, threads: i32) -> bool {
    let accepted = threads > 0;
    if accepted {
        this.state.threads.store(threads, Ordering::SeqCst);
    } else {
        let what = format!("Parameter check failed, condition: maxThreads > 0. maxThreads = {threads}.");
        this.state.log.usage_error("IRuntime::setMaxThreads", &what);
    }
    accepted
}

extern "C" fn max_threads(this: This<'_>) -> i32 {
    this.state.threads.load(Ordering::SeqCst)
}

extern "C" fn set_host_code(this: This<'_>, allowed: bool) {
    this.state.host_code.store(allowed, Ordering::SeqCst);
}

extern "C" fn host_code(this: This<'_>) -> bool {
    this.state.host_code.load(Ordering::SeqCst)
}
