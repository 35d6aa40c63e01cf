//! The GPUs in whose memory instances bind their tensors: those of the CUDA driver, or memory that stands in for them.

use std::ffi::CStr;
use std::sync::Arc;

use nereid_core::{Error, Result};
use nereid_cuda::{Device, PinnedPool, driver};
use ort::sys::{OrtAllocatorType, OrtMemType};

use crate::raw::MemoryInfo;
use crate::runtime::Runtime;

/// Which GPUs instances of `KIND_GPU` run on.
#[derive(Debug, Clone, Default)]
pub enum Gpus {
    /// Those of the CUDA driver. Without one, tensors go through ONNX Runtime's own copies.
    #[default]
    Driver,
    /// Those of a host that stands in for them, for tests without a GPU: sessions run on the CPU.
    InHostMemory(HostGpus),
}

/// GPUs in host memory.
#[derive(Debug, Clone, Default)]
pub struct HostGpus {
    /// By their ordinals; their addresses are the host's.
    pub devices: Vec<Arc<dyn Device>>,
    /// Tensors are where sessions want them, which is on the CPU. Otherwise all but strings count as the GPU's.
    pub as_placed: bool,
}

/// One GPU, and ONNX Runtime's name for its memory.
#[derive(Debug)]
pub(crate) struct Gpu {
    pub(crate) device: Arc<dyn Device>,
    pub(crate) memory: MemoryInfo,
    /// Its memory is the host's, and sessions have no provider for it.
    pub(crate) is_host: bool,
    /// Sessions say where they want tensors; otherwise all but strings are on the GPU.
    pub(crate) as_placed: bool,
    /// Page-locked memory for copies.
    pub(crate) pool: Arc<PinnedPool>,
}

impl Gpus {
    /// The GPU of this ordinal. `None` where there is no driver.
    ///
    /// # Errors
    /// `Internal` if there are GPUs and none of this ordinal.
    pub(crate) fn find(
        &self,
        runtime: &Runtime,
        ordinal: i32,
        pool: &Arc<PinnedPool>,
    ) -> Result<Option<Gpu>> {
        let (devices, host, name) = match self {
            Self::InHostMemory(host) => (&host.devices[..], Some(host), c"Cpu"),
            Self::Driver => match driver::devices() {
                Ok(devices) => (devices, None, c"Cuda"),
                Err(reason) => {
                    tracing::warn!("tensors of GPU instances go through host memory: {reason}");
                    return Ok(None);
                }
            },
        };
        let device = devices.iter().find(|device| device.info().ordinal == ordinal);
        let device = device.ok_or_else(|| {
            Error::internal(format!("there is no GPU {ordinal}; the CUDA driver shows {}", devices.len()))
        })?;
        let memory = memory(runtime, name, if host.is_some() { 0 } else { ordinal })?;
        let as_placed = host.is_none_or(|host| host.as_placed);
        let (device, pool) = (device.clone(), pool.clone());
        Ok(Some(Gpu { device, memory, is_host: host.is_some(), as_placed, pool }))
    }
}

fn memory(runtime: &Runtime, name: &CStr, ordinal: i32) -> Result<MemoryInfo> {
    let (kind, memory) = (OrtAllocatorType::OrtDeviceAllocator, OrtMemType::OrtMemTypeDefault);
    MemoryInfo::create(|out| {
        // SAFETY: the name lives during the call, and `out` is a place for the pointer.
        unsafe { (runtime.api.CreateMemoryInfo)(name.as_ptr(), kind, ordinal, memory, out) }
    })
}
