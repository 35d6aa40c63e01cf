//! `IExecutionContext`: one execution at a time. It allocates nothing and waits for nothing.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::sync::Arc;

use nereid_cuda::{RawEvent, RawStream};

use crate::abi::callbacks::text;
use crate::abi::layout::Dims;
use crate::abi::object::{Owned, untyped};
use crate::abi::output_allocator::Adapter;
use crate::abi::slots::ContextSlots;
use crate::engine::Engine;
use crate::error::TensorRtError;
use crate::output_allocator::OutputAllocator;
use crate::runtime::make_current;

/// Runs an engine. Tensors are named by their position in [`Engine::tensors`].
///
/// The calling thread has made the engine's GPU current, as every call of [`nereid_cuda::Device`] does.
#[derive(Debug)]
pub struct ExecutionContext {
    object: Owned,
    slots: &'static ContextSlots,
    /// By tensor; TensorRT has their addresses.
    allocators: Vec<Option<Box<Adapter>>>,
    engine: Arc<Engine>,
    /// Two threads may not call at once, though one may after the other.
    not_sync: PhantomData<Cell<()>>,
}

/// Calls the method at a slot of the context.
macro_rules! call {
    ($context:expr, $slot:expr $(, $argument:expr)*) => {{
        let object = &$context.object;
        // SAFETY: a slot of this class, which this version has.
        let method = unsafe { object.method($slot) };
        // SAFETY: the object is alive, names end with a zero byte, and what is pointed to is there during the call or, by
        // the promise of our caller, as long as TensorRT uses it.
        unsafe { method(object.this() $(, $argument)*) }
    }};
}

impl ExecutionContext {
    pub(crate) fn new(object: Owned, engine: Arc<Engine>) -> Self {
        let slots = ContextSlots::of(engine.runtime().library().family());
        let allocators = engine.tensors().iter().map(|_| None).collect();
        Self { object, slots, allocators, engine, not_sync: PhantomData }
    }

    /// The engine that it runs.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Chooses profile number `profile`; what the choice copies goes into `stream`. All input shapes are to be set again.
    ///
    /// # Errors
    /// There is no such profile, or what TensorRT logged.
    ///
    /// # Safety
    /// `stream` is a stream of the engine's GPU, and nothing enqueued on this context is running.
    pub unsafe fn set_profile(&mut self, profile: usize, stream: RawStream) -> Result<(), TensorRtError> {
        const CALL: &str = "setOptimizationProfileAsync";
        let count = self.engine.profiles().len();
        let number = i32::try_from(profile).ok().filter(|_| profile < count).ok_or_else(|| {
            TensorRtError::refused(CALL, format!("there is no profile {profile}: the plan has {count}"))
        })?;
        self.checked(CALL, |context| {
            call!(context, context.slots.set_profile, number, pointer(stream.0)) != 0
        })
    }

    /// Says how large input number `tensor` is, batch dimension included.
    ///
    /// # Errors
    /// The chosen profile does not allow it: TensorRT's words.
    pub fn set_input_shape(&mut self, tensor: usize, shape: &[i64]) -> Result<(), TensorRtError> {
        const CALL: &str = "setInputShape";
        let name = self.name(tensor, CALL)?;
        let dims = Dims::of(shape).ok_or_else(|| {
            TensorRtError::refused(CALL, format!("shape {shape:?} has more than 8 dimensions"))
        })?;
        self.checked(CALL, |context| {
            call!(context, context.slots.set_input_shape, name, &raw const dims) != 0
        })
    }

    /// The shape of a tensor as far as the inputs' shapes, and the values of shape tensors, say; -1 elsewhere.
    ///
    /// # Errors
    /// What TensorRT logged.
    pub fn tensor_shape(&self, tensor: usize) -> Result<Vec<i64>, TensorRtError> {
        const CALL: &str = "getTensorShape";
        let name = self.name(tensor, CALL)?;
        let log = self.engine.runtime().library().log();
        let mark = log.mark();
        let dims = call!(self, self.slots.tensor_shape, name);
        dims.shape().map(<[i64]>::to_vec).ok_or_else(|| log.failure(CALL, mark))
    }

    /// Works out all shapes, and the values of output shape tensors. Gives the names of inputs whose shape, or whose address
    /// if they are shape tensors, has not been set.
    ///
    /// # Errors
    /// The shapes do not go together: TensorRT's words.
    pub fn missing_inputs(&mut self) -> Result<Vec<String>, TensorRtError> {
        const CALL: &str = "inferShapes";
        let mut names = vec![std::ptr::null::<c_char>(); self.engine.tensors().len()];
        let capacity = i32::try_from(names.len()).unwrap_or(i32::MAX);
        let log = self.engine.runtime().library().log();
        let mark = log.mark();
        let missing = call!(self, self.slots.infer_shapes, capacity, names.as_mut_ptr());
        let missing = usize::try_from(missing).map_err(|_| log.failure(CALL, mark))?;
        let missing = names.into_iter().take(missing);
        // SAFETY: TensorRT gives C strings that live as long as the engine.
        Ok(missing.map(|name| unsafe { text(name) }).collect())
    }

    /// Where the tensor is, or is to be written: memory of the GPU or of the host, as [`crate::TensorInfo::location`] says.
    ///
    /// # Errors
    /// What TensorRT logged, such as a wrong alignment.
    ///
    /// # Safety
    /// As many bytes as the tensor has are there from `address` on, until another address is set, and until everything that
    /// was enqueued has ended. Nobody else writes them meanwhile, nor reads an output.
    pub unsafe fn set_tensor_address(&mut self, tensor: usize, address: u64) -> Result<(), TensorRtError> {
        const CALL: &str = "setTensorAddress";
        let name = self.name(tensor, CALL)?;
        self.checked(CALL, |context| {
            call!(context, context.slots.set_tensor_address, name, pointer(address)) != 0
        })
    }

    /// The event that is recorded when the inputs have been read; `None`: none.
    ///
    /// # Errors
    /// What TensorRT logged.
    ///
    /// # Safety
    /// The event is one of the engine's GPU, and is there until another is set and what was enqueued has ended.
    pub unsafe fn set_input_consumed_event(&mut self, event: Option<RawEvent>) -> Result<(), TensorRtError> {
        let event = pointer(event.map_or(0, |event| event.0));
        self.checked("setInputConsumedEvent", |context| {
            call!(context, context.slots.set_input_consumed_event, event) != 0
        })
    }

    /// Who provides memory for output number `tensor`, whose size depends on data; `None`: nobody, it has an address.
    ///
    /// # Errors
    /// What TensorRT logged.
    pub fn set_output_allocator(
        &mut self,
        tensor: usize,
        allocator: Option<Arc<dyn OutputAllocator>>,
    ) -> Result<(), TensorRtError> {
        const CALL: &str = "setOutputAllocator";
        let name = self.name(tensor, CALL)?;
        let flavor = self.engine.runtime().library().flavor();
        let adapter = allocator.map(|allocator| Adapter::new(flavor, allocator));
        let address = adapter.as_deref().map_or(std::ptr::null_mut(), |adapter| untyped(adapter));
        self.checked(CALL, |context| call!(context, context.slots.set_output_allocator, name, address) != 0)?;
        if let Some(place) = self.allocators.get_mut(tensor) {
            *place = adapter; // the one before goes only now that TensorRT has forgotten it
        }
        Ok(())
    }

    /// Bytes that output number `tensor` can need at most, for the shapes that are set; `None`: TensorRT does not know.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn max_output_size(&self, tensor: usize) -> Result<Option<u64>, TensorRtError> {
        let name = self.name(tensor, "getMaxOutputSize")?;
        Ok(u64::try_from(call!(self, self.slots.max_output_size, name)).ok())
    }

    /// The memory for what is between inputs and outputs, where the caller provides it.
    ///
    /// # Safety
    /// `bytes` bytes of the engine's GPU are there from `address` on, and are this context's until all that was enqueued
    /// has ended and other memory is set. They are aligned to 256.
    pub unsafe fn set_device_memory(&mut self, address: u64, bytes: u64) {
        let minor = self.engine.runtime().library().version().minor;
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        match self.slots.set_device_memory_v2.in_minor(minor) {
            Some(slot) => call!(self, slot, pointer(address), bytes),
            None => call!(self, self.slots.set_device_memory, pointer(address)),
        }
    }

    /// Puts an execution into `stream`.
    ///
    /// # Errors
    /// What TensorRT logged. An error of the GPU itself shows when the stream is waited for.
    ///
    /// # Safety
    /// `stream` is a stream of the engine's GPU, no other execution of this context runs, and what is promised of addresses
    /// holds until this one has ended.
    pub unsafe fn enqueue(&mut self, stream: RawStream) -> Result<(), TensorRtError> {
        self.checked("enqueueV3", |context| call!(context, context.slots.enqueue, pointer(stream.0)) != 0)
    }

    fn checked(
        &mut self,
        call: &'static str,
        body: impl FnOnce(&mut Self) -> bool,
    ) -> Result<(), TensorRtError> {
        let mark = self.engine.runtime().library().log().mark();
        if body(self) { Ok(()) } else { Err(self.engine.runtime().library().log().failure(call, mark)) }
    }

    /// Lives as long as the engine, which this holds.
    fn name(&self, tensor: usize, call: &'static str) -> Result<*const c_char, TensorRtError> {
        let name = self.engine.tensor_name(tensor).map(|name| CStr::as_ptr(name));
        name.ok_or_else(|| {
            let count = self.engine.tensors().len();
            TensorRtError::refused(call, format!("there is no tensor {tensor}: the plan has {count}"))
        })
    }
}

impl Drop for ExecutionContext {
    fn drop(&mut self) {
        let _ = make_current(self.engine.runtime().device(), "~IExecutionContext"); // it goes whatever the driver says
    }
}

/// An address of the driver or of the GPU, as C++ passes it.
fn pointer(address: u64) -> *mut c_void {
    std::ptr::without_provenance_mut(usize::try_from(address).unwrap_or(usize::MAX))
}
