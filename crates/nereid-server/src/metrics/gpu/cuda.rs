//! The GPUs that CUDA uses in this process, by their names in metrics.

/// A GPU, or a part of one, as CUDA names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CudaGpu {
    pub(super) uuid: String,
    #[cfg_attr(not(feature = "nvml"), allow(dead_code, reason = "by which the driver's library is asked"))]
    pub(super) pci_bus_id: String,
}

/// In CUDA's order; `None` in a build that does not know.
///
/// # Errors
/// Why CUDA uses none.
pub(super) fn gpus() -> Option<Result<Vec<CudaGpu>, String>> {
    #[cfg(feature = "cuda")]
    return Some(match nereid_cuda::driver::devices() {
        Ok(devices) => {
            let gpu = |info: &nereid_cuda::DeviceInfo| CudaGpu {
                uuid: info.uuid.clone(),
                pci_bus_id: info.pci_bus_id.clone(),
            };
            Ok(devices.iter().map(|device| gpu(device.info())).collect())
        }
        Err(unavailable) => Err(unavailable.to_string()),
    });
    #[cfg(not(feature = "cuda"))]
    None
}
