//! ONNX Runtime's own list of what an execution reads and writes, and where.

use std::ffi::CStr;
use std::slice;

use nereid_core::Result;

use crate::error::check;
use crate::raw::{IoBinding, MemoryInfo, Session, Value};
use crate::runtime::Runtime;
use crate::terminate::Handle;

/// Inputs and outputs of the execution at hand, of one session, which must outlive it.
#[derive(Debug)]
pub(super) struct Binding {
    runtime: &'static Runtime,
    binding: IoBinding,
}

impl Binding {
    pub(super) fn new(runtime: &'static Runtime, session: &Session) -> Result<Self> {
        // SAFETY: the session lives, and `out` is a place for the pointer.
        let make = |out| unsafe { (runtime.api.CreateIoBinding)(session.as_ptr(), out) };
        Ok(Self { runtime, binding: IoBinding::create(make)? })
    }

    /// The graph reads `value` as `name`. Where it wants the input elsewhere the value is copied now.
    pub(super) fn input(&mut self, name: &CStr, value: &Value) -> Result<()> {
        let bind = self.runtime.api.BindInput;
        // SAFETY: all three live during the call; the binding keeps a part of the value.
        check(self.runtime.api, unsafe { bind(self.binding.as_ptr(), name.as_ptr(), value.as_ptr()) })
    }

    /// The graph writes its output `name` to `value`.
    pub(super) fn output(&mut self, name: &CStr, value: &Value) -> Result<()> {
        let bind = self.runtime.api.BindOutput;
        // SAFETY: as for an input.
        check(self.runtime.api, unsafe { bind(self.binding.as_ptr(), name.as_ptr(), value.as_ptr()) })
    }

    /// ONNX Runtime allocates the output `name` in this memory.
    pub(super) fn output_in(&mut self, name: &CStr, memory: &MemoryInfo) -> Result<()> {
        let bind = self.runtime.api.BindOutputToDevice;
        // SAFETY: all three live during the call, which copies the info.
        check(self.runtime.api, unsafe { bind(self.binding.as_ptr(), name.as_ptr(), memory.as_ptr()) })
    }

    /// Runs the session.
    pub(super) fn run(&self, session: &Session, options: &Handle) -> Result<()> {
        let run = self.runtime.api.RunWithBinding;
        // SAFETY: all three live, and the binding is of this session; what it borrows is there until it is cleared.
        check(self.runtime.api, unsafe { run(session.as_ptr(), options.as_ptr(), self.binding.as_ptr()) })
    }

    /// The outputs of a run, in the order in which they were bound.
    pub(super) fn outputs(&self) -> Result<Vec<Value>> {
        let api = self.runtime.api;
        let allocator = self.runtime.allocator.as_ptr();
        let (mut list, mut count) = (std::ptr::null_mut(), 0);
        let get = api.GetBoundOutputValues;
        // SAFETY: binding and allocator live, and the others are places for the list and its length.
        check(api, unsafe { get(self.binding.as_ptr(), allocator, &mut list, &mut count) })?;
        if list.is_null() {
            return Ok(Vec::new());
        }
        // SAFETY: the list has `count` values, none of them null, which are ours; it is read before it is freed.
        let values = unsafe { slice::from_raw_parts(list.cast::<Value>(), count) };
        // SAFETY: each is read once, and the list is not read again.
        let values = values.iter().map(|value| unsafe { std::ptr::read(value) }).collect();
        // SAFETY: the list came from this allocator.
        check(api, unsafe { (api.AllocatorFree)(allocator, list.cast()) })?;
        Ok(values)
    }

    pub(super) fn clear_outputs(&mut self) {
        // SAFETY: the binding lives.
        unsafe { (self.runtime.api.ClearBoundOutputs)(self.binding.as_ptr()) };
    }

    pub(super) fn clear(&mut self) {
        self.clear_outputs();
        // SAFETY: the binding lives.
        unsafe { (self.runtime.api.ClearBoundInputs)(self.binding.as_ptr()) };
    }
}
