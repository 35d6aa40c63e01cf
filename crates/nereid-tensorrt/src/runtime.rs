//! `IRuntime`: reads plans.

use std::ffi::c_void;
use std::sync::Arc;

use nereid_cuda::Device;
use parking_lot::Mutex;

use crate::abi::object::Owned;
use crate::abi::slots::RuntimeSlots;
use crate::engine::Engine;
use crate::error::TensorRtError;
use crate::library::Library;
use crate::plan_file;

const CREATE: &str = "createInferRuntime";
const DESERIALIZE: &str = "deserializeCudaEngine";

/// Reads plans for one GPU.
#[derive(Debug)]
pub struct Runtime {
    /// TensorRT allows one thread at a time.
    object: Mutex<Owned>,
    slots: &'static RuntimeSlots,
    library: Arc<Library>,
    device: Arc<dyn Device>,
}

impl Runtime {
    /// A runtime for `device`. That there is a device says that there is a driver, without which some libraries of TensorRT
    /// crash.
    ///
    /// # Errors
    /// What TensorRT logged.
    pub fn new(library: &Arc<Library>, device: &Arc<dyn Device>) -> Result<Arc<Self>, TensorRtError> {
        make_current(device, CREATE)?;
        let mark = library.log().mark();
        let create = library.create_runtime();
        // SAFETY: the logger is one of this library's family and is never freed; the version is the library's own.
        let pointer = unsafe { create(library.logger(), library.version_number()) };
        // SAFETY: a new runtime, or what the library returns instead.
        let object = unsafe { Owned::new(pointer) }.ok_or_else(|| library.log().failure(CREATE, mark))?;
        let slots = RuntimeSlots::of(library.family());
        // SAFETY: a slot of this class.
        let set_error_recorder = unsafe { object.method(slots.set_error_recorder) };
        // SAFETY: the recorder is never freed.
        unsafe { set_error_recorder(object.this(), library.error_recorder()) };
        let (library, device) = (Arc::clone(library), Arc::clone(device));
        Ok(Arc::new(Self { object: Mutex::new(object), slots, library, device }))
    }

    /// Whether plans may bring code that runs on the host (version-compatible plans with a lean runtime in them): only for
    /// plans from a source that is trusted. Off at first.
    pub fn set_host_code_allowed(&self, allowed: bool) {
        let object = self.object.lock();
        // SAFETY: a slot of this class.
        let set = unsafe { object.method(self.slots.set_host_code_allowed) };
        // SAFETY: the object is alive.
        unsafe { set(object.this(), allowed) };
    }

    /// Whether they may.
    pub fn host_code_allowed(&self) -> bool {
        let object = self.object.lock();
        // SAFETY: a slot of this class.
        let get = unsafe { object.method(self.slots.host_code_allowed) };
        // SAFETY: the object is alive.
        unsafe { get(object.this()) != 0 }
    }

    /// Number of DLA cores of the GPU.
    pub fn dla_cores(&self) -> i32 {
        let object = self.object.lock();
        // SAFETY: a slot of this class.
        let get = unsafe { object.method(self.slots.dla_cores) };
        // SAFETY: the object is alive.
        unsafe { get(object.this()) }
    }

    /// On which DLA core plans that were built for DLA run.
    pub fn set_dla_core(&self, core: i32) {
        let object = self.object.lock();
        // SAFETY: a slot of this class.
        let set = unsafe { object.method(self.slots.set_dla_core) };
        // SAFETY: the object is alive; TensorRT logs a core that is not there.
        unsafe { set(object.this(), core) };
    }

    /// Threads that the runtime may use, and those it uses unless told otherwise.
    ///
    /// # Errors
    /// TensorRT refuses the number.
    pub fn set_max_threads(&self, threads: i32) -> Result<(), TensorRtError> {
        let mark = self.library.log().mark();
        let object = self.object.lock();
        // SAFETY: a slot of this class.
        let set = unsafe { object.method(self.slots.set_max_threads) };
        // SAFETY: the object is alive.
        let accepted = unsafe { set(object.this(), threads) } != 0;
        if accepted { Ok(()) } else { Err(self.library.log().failure("setMaxThreads", mark)) }
    }

    /// Threads that the runtime may use.
    pub fn max_threads(&self) -> i32 {
        let object = self.object.lock();
        // SAFETY: a slot of this class.
        let get = unsafe { object.method(self.slots.max_threads) };
        // SAFETY: the object is alive.
        unsafe { get(object.this()) }
    }

    /// The engine of `plan`.
    ///
    /// # Errors
    /// `plan` is something else, damaged, or for another version or GPU; or the GPU has no room for it.
    pub fn deserialize(self: &Arc<Self>, plan: &[u8]) -> Result<Arc<Engine>, TensorRtError> {
        if let Some(what) = plan_file::certainly(plan) {
            return Err(TensorRtError::refused(DESERIALIZE, format!("the plan is {what}")));
        }
        make_current(&self.device, DESERIALIZE)?;
        let object = {
            let object = self.object.lock();
            let mark = self.library.log().mark();
            // SAFETY: a slot of this class.
            let deserialize = unsafe { object.method(self.slots.deserialize) };
            // SAFETY: the plan is there during the call, and its size is right.
            let pointer = unsafe { deserialize(object.this(), plan.as_ptr().cast::<c_void>(), plan.len()) };
            // SAFETY: a new engine, or null.
            unsafe { Owned::new(pointer) }.ok_or_else(|| self.library.log().failure(DESERIALIZE, mark))
        };
        let object = object.map_err(|mut error| {
            error.reason = plan_file::probably(plan).map(|what| format!("the plan is {what}"));
            error
        })?;
        Engine::new(object, Arc::clone(self)).map(Arc::new)
    }

    /// The library of the runtime.
    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// The GPU of the runtime.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = make_current(&self.device, "~IRuntime"); // the object goes whatever the driver says
    }
}

/// TensorRT works on the GPU that is current for the calling thread.
pub(crate) fn make_current(device: &Arc<dyn Device>, call: &'static str) -> Result<(), TensorRtError> {
    match device.memory() {
        Ok(_) => Ok(()),
        Err(error) => Err(TensorRtError::refused(call, error.to_string())),
    }
}
