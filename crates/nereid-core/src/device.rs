//! Tensors in the memory of a GPU: where they lie, and nothing about how to get there.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Bytes in the memory of a GPU. The memory stays theirs while this lives; who may write them when is for those who
/// hand it on to say.
#[derive(Clone)]
pub struct DeviceSlice {
    /// Number of the GPU.
    pub device: i32,
    /// Address in the memory of the GPU.
    pub address: u64,
    pub byte_size: usize,
    /// Keeps the memory.
    #[expect(dead_code, reason = "held, not read")]
    owner: Arc<dyn Any + Send + Sync>,
}

impl DeviceSlice {
    /// `byte_size` bytes at `address` of GPU `device`, which are there as long as `owner`.
    pub fn new(device: i32, address: u64, byte_size: usize, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self { device, address, byte_size, owner }
    }

    /// The first `byte_size` bytes of it, or all if it has fewer.
    #[must_use]
    pub fn first(&self, byte_size: usize) -> Self {
        Self { byte_size: byte_size.min(self.byte_size), ..self.clone() }
    }
}

impl fmt::Debug for DeviceSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, address, byte_size, owner: _ } = self;
        write!(f, "{byte_size} bytes at {address:#x} of GPU {device}")
    }
}

/// The tensors of a request that lie in the memory of a GPU. A frontend names them only where the model says that it
/// takes them there; everything else is in host memory.
#[derive(Debug, Clone, Default)]
pub struct DeviceTensors {
    /// By the position of the input in the request, whose `data` is empty.
    pub inputs: Vec<(usize, DeviceSlice)>,
    /// By the name of the output: where the model may write it. It does, and leaves the response's `data` empty, if there
    /// is room for it; otherwise it gives the data in host memory.
    pub outputs: Vec<(String, DeviceSlice)>,
}

impl DeviceTensors {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty()
    }
}
