//! Memory for outputs whose size is known only when they have been computed. Nothing but the GPU bounds it: no number of
//! a request or an engine is believed.

use nereid_core::Shape;
use nereid_cuda::staging::{ALIGNMENT, DeviceMemory};
use nereid_cuda::{CudaError, RawStream};
use nereid_tensorrt::OutputAllocator;
use parking_lot::Mutex;

/// Memory of one output of one instance, which TensorRT asks for during an execution.
#[derive(Debug)]
pub(crate) struct OutputMemory(Mutex<State>);

#[derive(Debug)]
struct State {
    memory: DeviceMemory,
    /// What the execution at hand has asked for and got; `None` until it has.
    address: Option<u64>,
    byte_size: usize,
    shape: Option<Shape>,
    failure: Option<CudaError>,
}

impl OutputMemory {
    pub(crate) fn new(memory: DeviceMemory) -> Self {
        Self(Mutex::new(State { memory, address: None, byte_size: 0, shape: None, failure: None }))
    }

    /// Forgets what the last execution gave; its memory is kept.
    pub(crate) fn clear(&self) {
        let mut state = self.0.lock();
        (state.address, state.shape, state.failure) = (None, None, None);
    }

    /// Where the output of the execution at hand is. `None` if TensorRT has not asked for memory.
    pub(crate) fn address(&self) -> Option<u64> {
        self.0.lock().address
    }

    /// The shape of the output of the execution at hand, and the bytes that TensorRT asked for. `None` if it has not said
    /// them.
    pub(crate) fn output(&self) -> Option<(Shape, usize)> {
        let state = self.0.lock();
        state.address?;
        Some((state.shape.clone()?, state.byte_size))
    }

    /// Why there was no memory.
    pub(crate) fn failure(&self) -> Option<CudaError> {
        self.0.lock().failure.clone()
    }
}

impl OutputAllocator for OutputMemory {
    fn reallocate(&self, _: &str, _: u64, bytes: u64, alignment: u64, _: RawStream) -> Option<u64> {
        let mut state = self.0.lock();
        // The driver aligns to as much as TensorRT asks for; anything else is met by moving up.
        let alignment = alignment.max(1);
        let spare = if alignment <= ALIGNMENT as u64 { 0 } else { alignment };
        let byte_size = usize::try_from(bytes.checked_add(spare)?).ok()?;
        match state.memory.reserve(byte_size) {
            Ok(address) => {
                state.address = address.checked_next_multiple_of(alignment);
                state.byte_size = byte_size - usize::try_from(spare).unwrap_or(byte_size);
                state.address
            }
            Err(failure) => {
                state.failure = Some(failure);
                None
            }
        }
    }

    fn notify_shape(&self, _: &str, shape: &[i64]) {
        self.0.lock().shape = Some(Shape::from_slice(shape));
    }
}
