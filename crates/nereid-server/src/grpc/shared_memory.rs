//! The shared memory extensions: six rpcs, and the parameters of tensors that are in shared memory
//! (Triton's `grpc_server.cc` and `grpc_utils.h`).

use std::collections::BTreeMap;
use std::sync::Arc;

use nereid_core::{Error, Result};
use nereid_protocol::inference::infer_parameter::ParameterChoice;
use nereid_protocol::inference::{
    CudaSharedMemoryRegisterRequest, CudaSharedMemoryRegisterResponse, CudaSharedMemoryStatusRequest,
    CudaSharedMemoryStatusResponse, CudaSharedMemoryUnregisterRequest, CudaSharedMemoryUnregisterResponse,
    InferParameter, SystemSharedMemoryRegisterRequest, SystemSharedMemoryRegisterResponse,
    SystemSharedMemoryStatusRequest, SystemSharedMemoryStatusResponse, SystemSharedMemoryUnregisterRequest,
    SystemSharedMemoryUnregisterResponse, cuda_shared_memory_status_response as cuda,
    system_shared_memory_status_response as system,
};

use crate::service::Service;
use crate::shared_memory::{Bounds, HANDLE_BYTES, Kind, Place};

pub(super) fn system_status(
    service: &Service,
    request: SystemSharedMemoryStatusRequest,
) -> Result<SystemSharedMemoryStatusResponse> {
    let regions = service.shared_memory().status(Kind::System, &request.name)?;
    let regions = regions.iter().filter_map(|region| match &region.place {
        Place::System { key, offset } => {
            let name = region.name.to_string();
            let status = system::RegionStatus {
                name: name.clone(),
                key: key.clone(),
                offset: *offset,
                byte_size: region.byte_size,
            };
            Some((name, status))
        }
        Place::Cuda { .. } => None,
    });
    Ok(SystemSharedMemoryStatusResponse { regions: regions.collect() })
}

pub(super) async fn system_register(
    service: Arc<Service>,
    request: SystemSharedMemoryRegisterRequest,
) -> Result<SystemSharedMemoryRegisterResponse> {
    let SystemSharedMemoryRegisterRequest { name, key, offset, byte_size } = request;
    service
        .off_the_loop(move |service| service.shared_memory().register_system(&name, &key, offset, byte_size))
        .await?;
    Ok(SystemSharedMemoryRegisterResponse {})
}

pub(super) async fn system_unregister(
    service: Arc<Service>,
    request: SystemSharedMemoryUnregisterRequest,
) -> Result<SystemSharedMemoryUnregisterResponse> {
    unregister(service, Kind::System, request.name).await?;
    Ok(SystemSharedMemoryUnregisterResponse {})
}

pub(super) fn cuda_status(
    service: &Service,
    request: CudaSharedMemoryStatusRequest,
) -> Result<CudaSharedMemoryStatusResponse> {
    let regions = service.shared_memory().status(Kind::Cuda, &request.name)?;
    let regions = regions.iter().filter_map(|region| match region.place {
        Place::Cuda { device_id } => {
            let name = region.name.to_string();
            let byte_size = region.byte_size;
            Some((name.clone(), cuda::RegionStatus { name, device_id, byte_size }))
        }
        Place::System { .. } => None,
    });
    Ok(CudaSharedMemoryStatusResponse { regions: regions.collect() })
}

pub(super) async fn cuda_register(
    service: Arc<Service>,
    request: CudaSharedMemoryRegisterRequest,
) -> Result<CudaSharedMemoryRegisterResponse> {
    let CudaSharedMemoryRegisterRequest { name, raw_handle, device_id, byte_size } = request;
    service.shared_memory().check_allowed()?;
    let handle = <[u8; HANDLE_BYTES]>::try_from(&raw_handle[..]).map_err(|_| {
        // Triton reads as many bytes, whatever was sent.
        Error::invalid_arg(format!(
            "'raw_handle' must be a cudaIpcMemHandle_t of {HANDLE_BYTES} bytes, got {} bytes",
            raw_handle.len()
        ))
    })?;
    let device_id = device_id as u64; // a negative one is no GPU either
    service
        .off_the_loop(move |service| {
            service.shared_memory().register_cuda(&name, handle, device_id, byte_size)
        })
        .await?;
    Ok(CudaSharedMemoryRegisterResponse {})
}

pub(super) async fn cuda_unregister(
    service: Arc<Service>,
    request: CudaSharedMemoryUnregisterRequest,
) -> Result<CudaSharedMemoryUnregisterResponse> {
    unregister(service, Kind::Cuda, request.name).await?;
    Ok(CudaSharedMemoryUnregisterResponse {})
}

async fn unregister(service: Arc<Service>, kind: Kind, name: String) -> Result<()> {
    service.off_the_loop(move |service| service.shared_memory().unregister(kind, &name)).await
}

/// Where the tensor with these parameters is, if it is in shared memory. Negative numbers become huge ones, which no
/// region has, as in Triton.
///
/// # Errors
/// `InvalidArg` for a parameter of the wrong type, and for an offset or a size without a region, or no size.
pub(super) fn bounds<'p>(
    tensor: &str,
    parameters: &'p BTreeMap<String, InferParameter>,
) -> Result<Option<Bounds<'p>>> {
    if parameters.is_empty() {
        return Ok(None);
    }
    let wrong = |name: &str, expected: &str| {
        Error::invalid_arg(format!(
            "invalid value type for '{name}' parameter for tensor '{tensor}', expected {expected}."
        ))
    };
    let region = match parameters.get("shared_memory_region").map(|p| &p.parameter_choice) {
        None => None,
        Some(Some(ParameterChoice::StringParam(region))) => Some(region),
        Some(_) => return Err(wrong("shared_memory_region", "string_param")),
    };
    let number = |name: &str| {
        let Some(InferParameter { parameter_choice }) = parameters.get(name) else { return Ok(None) };
        if region.is_none() {
            return Err(Error::invalid_arg(format!(
                "'{name}' can not be specified without 'shared_memory_region' parameter for tensor '{tensor}'"
            )));
        }
        match parameter_choice {
            Some(ParameterChoice::Int64Param(value)) => Ok(Some(*value as u64)),
            _ => Err(wrong(name, "int64_param")),
        }
    };
    let offset = number("shared_memory_offset")?.unwrap_or(0);
    let byte_size = number("shared_memory_byte_size")?;
    match (region, byte_size) {
        (None, _) => Ok(None),
        (Some(region), Some(byte_size)) => Ok(Some(Bounds { region, offset, byte_size })),
        (Some(_), None) => Err(Error::invalid_arg(format!(
            "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter for tensor \
             '{tensor}'"
        ))),
    }
}
