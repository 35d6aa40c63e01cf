//! `ICudaEngine`: what a plan computes, and contexts to compute it with.

use std::ffi::CString;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::abi::object::Owned;
use crate::abi::slots::EngineSlots;
use crate::context::ExecutionContext;
use crate::error::TensorRtError;
use crate::profile::Profile;
use crate::reader::Reader;
use crate::runtime::{Runtime, make_current};
use crate::tensor::TensorInfo;

const CREATE_CONTEXT: &str = "createExecutionContext";

/// A deserialised plan. Any number of contexts can run it at once.
#[derive(Debug)]
pub struct Engine {
    /// TensorRT allows one thread at a time to create contexts.
    object: Mutex<Owned>,
    slots: &'static EngineSlots,
    name: String,
    tensors: Vec<TensorInfo>,
    /// The names of the tensors, as TensorRT takes them.
    names: Vec<CString>,
    profiles: Vec<Profile>,
    device_memory_size: u64,
    runtime: Arc<Runtime>,
}

/// Who provides the memory for what is between inputs and outputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AllocationStrategy {
    /// TensorRT, once, as much as the largest profile needs.
    #[default]
    Static,
    /// TensorRT, as much as the chosen profile needs.
    OnProfileChange,
    /// The caller, with [`ExecutionContext::set_device_memory`].
    UserManaged,
}

impl AllocationStrategy {
    const fn number(self) -> i32 {
        match self {
            Self::Static => 0,
            Self::OnProfileChange => 1,
            Self::UserManaged => 2,
        }
    }
}

impl Engine {
    /// Reads everything about `object`.
    pub(crate) fn new(object: Owned, runtime: Arc<Runtime>) -> Result<Self, TensorRtError> {
        let library = runtime.library();
        let slots = EngineSlots::of(library.family());
        let reader = Reader { object: &object, slots, minor: library.version().minor };
        let names = reader.names()?;
        let tensors = names.iter().map(|name| reader.tensor(name)).collect::<Result<Vec<_>, _>>()?;
        let profiles = reader.profiles(&names, &tensors)?;
        let name = reader.name();
        let device_memory_size = reader.device_memory_size();
        Ok(Self {
            object: Mutex::new(object),
            slots,
            name,
            tensors,
            names,
            profiles,
            device_memory_size,
            runtime,
        })
    }

    /// The name of the network that it was built from; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Inputs and outputs, in TensorRT's order. Other calls name a tensor by its position here.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Optimisation profiles; at least one.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// Bytes that a context needs on the GPU, under whichever profile needs most.
    pub fn device_memory_size(&self) -> u64 {
        self.device_memory_size
    }

    /// The runtime that read it.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// A context, which runs one execution at a time.
    ///
    /// # Errors
    /// What TensorRT logged; most often the GPU has no memory left.
    pub fn create_context(
        self: &Arc<Self>,
        strategy: AllocationStrategy,
    ) -> Result<ExecutionContext, TensorRtError> {
        make_current(self.runtime.device(), CREATE_CONTEXT)?;
        let object = self.object.lock();
        let log = self.runtime.library().log();
        let mark = log.mark();
        // SAFETY: a slot of this class.
        let create = unsafe { object.method(self.slots.create_context) };
        // SAFETY: the object is alive, and the strategy is one of TensorRT's.
        let pointer = unsafe { create(object.this(), strategy.number()) };
        // SAFETY: a new context, or null.
        let context = unsafe { Owned::new(pointer) }.ok_or_else(|| log.failure(CREATE_CONTEXT, mark))?;
        Ok(ExecutionContext::new(context, Arc::clone(self)))
    }

    /// The name of tensor number `tensor`, as TensorRT takes it.
    pub(crate) fn tensor_name(&self, tensor: usize) -> Option<&CString> {
        self.names.get(tensor)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = make_current(self.runtime.device(), "~ICudaEngine"); // the object goes whatever the driver says
    }
}
