//! The driver's management library (NVML): loads it, finds the GPUs that CUDA uses, and reads them, in turns.

use std::ffi::OsStr;
use std::path::Path;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::GpuValues;
use super::choice::{self, Chosen, Listed};
use super::cuda::CudaGpu;
use super::device::{Part, Source};
use super::readings::Turns;

const NAME: &str = "libnvidia-ml.so.1";

/// A GPU that the driver knows, and its MIG devices with their places.
struct Known<'nvml> {
    device: Device<'nvml>,
    instances: Vec<Device<'nvml>>,
    listed: Listed,
}

/// Reads the GPUs of `cuda` whenever it is their turn. Returns when no reading will be wanted any more, or when there is
/// nothing to read, which is in the log then. `library` is the management library unless it is where the system looks.
pub(super) fn run(
    library: Option<&Path>,
    cuda: impl FnOnce() -> Option<Result<Vec<CudaGpu>, String>>,
    turns: &Turns,
) {
    let nvml = match Nvml::builder().lib_path(library.map_or(OsStr::new(NAME), Path::as_os_str)).init() {
        Ok(nvml) => nvml,
        Err(NvmlError::LibloadingError(_)) => {
            return tracing::info!("GPU metrics will not be available: there is no {NAME}");
        }
        Err(error) => {
            return tracing::warn!("error initializing NVML, GPU metrics will not be available: {error}");
        }
    };
    let cuda = match cuda().transpose() {
        Ok(cuda) => cuda,
        Err(reason) => {
            return tracing::warn!(
                "Cannot get CUDA device count, GPU metrics will not be available: {reason}"
            );
        }
    };
    let known = match known(&nvml) {
        Ok(known) => known,
        Err(error) => {
            return tracing::warn!(
                "NVML unable to get device info and count, GPU metrics will not be available: {error}"
            );
        }
    };
    let chosen = chosen(&known, cuda.as_deref());
    if chosen.is_empty() {
        return tracing::info!("GPU metrics will not be available: CUDA uses none of {} GPUs", known.len());
    }
    let mut sources = sources(&known, &chosen);
    while turns.wait() {
        let values: Vec<GpuValues> = sources.iter_mut().map(Source::read).collect();
        turns.answer(values);
    }
}

/// What CUDA uses. What it uses and the driver does not know is named in the log.
fn chosen(known: &[Known<'_>], cuda: Option<&[CudaGpu]>) -> Vec<Chosen> {
    let listed: Vec<Listed> = known.iter().map(|known| known.listed.clone()).collect();
    let Some(cuda) = cuda else {
        return choice::by_environment(&listed, std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref());
    };
    let chosen = choice::by_cuda(&listed, cuda);
    let missing = (0..cuda.len()).filter(|ordinal| chosen.iter().all(|found| found.ordinal != *ordinal));
    missing.for_each(|n| tracing::warn!("GPU metrics will not be available for device:{n}"));
    chosen
}

/// Of a GPU in MIG mode, what its MIG devices share comes first, and once.
fn sources<'a>(known: &'a [Known<'a>], chosen: &[Chosen]) -> Vec<Source<'a>> {
    let mut sources = Vec::new();
    for (index, &Chosen { ordinal, gpu, instance }) in chosen.iter().enumerate() {
        let Known { device, instances, listed } = &known[gpu];
        let part = instance.and_then(|i| Some((instances.get(i)?, listed.instances.as_ref()?.get(i)?)));
        let named = part.map_or(device, |(part, _)| part);
        let name = named.name().unwrap_or_else(|_| "a GPU without a name".to_owned());
        tracing::info!("Collecting metrics for GPU {ordinal}: {name}");
        let source = |part, device, uuid: &String| Source::new(device, part, uuid.clone(), ordinal);
        let Some((part, uuid)) = part else {
            sources.push(source(Part::Gpu, device, &listed.uuid));
            continue;
        };
        if chosen[..index].iter().all(|before| before.gpu != gpu) {
            sources.push(source(Part::Shared, device, &listed.uuid));
        }
        sources.push(source(Part::Instance, part, uuid));
    }
    sources
}

/// Every GPU of the machine that can be asked for its name.
fn known(nvml: &Nvml) -> Result<Vec<Known<'_>>, NvmlError> {
    let one = |number: u32| -> Result<Known<'_>, NvmlError> {
        let device = nvml.device_by_index(number)?;
        let instances = instances(&device)?;
        let uuids = instances.as_ref().map(|all| all.iter().map(|(_, uuid)| uuid.clone()).collect());
        let listed = Listed { uuid: device.uuid()?, pci_bus_id: device.pci_info()?.bus_id, instances: uuids };
        let instances = instances.into_iter().flatten().map(|(device, _)| device).collect();
        Ok(Known { device, instances, listed })
    };
    let known = (0..nvml.device_count()?).filter_map(|number| match one(number) {
        Ok(known) => Some(known),
        Err(error) => {
            tracing::warn!(
                "NVML unable to get device properties for NVML device {number}, GPU metrics will not be available \
                 for this device: {error}"
            );
            None
        }
    });
    Ok(known.collect())
}

/// The MIG devices of `device` with their uuids; `None` if it is not in MIG mode.
fn instances<'nvml>(device: &Device<'nvml>) -> Result<Option<Vec<(Device<'nvml>, String)>>, NvmlError> {
    match device.mig_mode() {
        Ok(mode) if mode.current == 1 => {}
        // A driver from before there was MIG has no such function.
        Ok(_) | Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut instances = Vec::new();
    for place in 0..device.mig_device_count()? {
        match device.mig_device_by_index(place) {
            Ok(instance) => {
                let uuid = instance.uuid()?;
                instances.push((instance, uuid));
            }
            // The number of places; not each of them is taken.
            Err(NvmlError::NotFound | NvmlError::InvalidArg) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(instances))
}
