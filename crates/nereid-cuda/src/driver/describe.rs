//! What the driver says about a GPU without using it.

#![allow(unsafe_code, reason = "the driver writes to places that it is given")]

use std::ffi::{c_char, c_int, c_uint};

use cudarc::driver::sys::{CUdevice, CUdevice_attribute, CUuuid};

use super::library::Driver;
use super::symbols::Code;
use crate::{DeviceInfo, Result};

/// Longest name of a GPU that is read, and of its place on the bus.
const TEXT_BYTES: usize = 256;

/// The GPUs that the driver shows.
pub(super) fn count(driver: &Driver) -> Result<c_int> {
    let mut count = 0;
    // SAFETY: the driver writes a number.
    let code = unsafe { (driver.symbols.cuDeviceGetCount)(&raw mut count) };
    driver.check("cuDeviceGetCount", code).map(|()| count)
}

/// The GPU of a number below [`count`], and what it is.
pub(super) fn describe(driver: &Driver, ordinal: c_int) -> Result<(CUdevice, DeviceInfo)> {
    let symbols = &driver.symbols;
    let mut device = 0;
    // SAFETY: the driver writes a handle.
    let code = unsafe { (symbols.cuDeviceGet)(&raw mut device, ordinal) };
    driver.check("cuDeviceGet", code)?;
    let mut total = 0;
    // SAFETY: the driver writes a number.
    let code = unsafe { (symbols.cuDeviceTotalMem_v2)(&raw mut total, device) };
    driver.check("cuDeviceTotalMem_v2", code)?;
    let attribute = |attribute: CUdevice_attribute| {
        let mut value = 0;
        // SAFETY: the driver writes a number.
        let code = unsafe { (symbols.cuDeviceGetAttribute)(&raw mut value, attribute as c_uint, device) };
        driver.check("cuDeviceGetAttribute", code).map(|()| u32::try_from(value).unwrap_or(0))
    };
    let major = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let name = text(driver, "cuDeviceGetName", symbols.cuDeviceGetName, device)?;
    let info = DeviceInfo {
        ordinal,
        uuid: uuid(driver, device, &name)?,
        name,
        compute_capability: (major, minor),
        total_memory: total as u64,
        pci_bus_id: text(driver, "cuDeviceGetPCIBusId", symbols.cuDeviceGetPCIBusId, device)?,
    };
    Ok((device, info))
}

fn text(
    driver: &Driver,
    call: &'static str,
    function: unsafe extern "C" fn(*mut c_char, c_int, CUdevice) -> Code,
    device: CUdevice,
) -> Result<String> {
    let mut text = [0_u8; TEXT_BYTES];
    // SAFETY: the driver writes at most so many bytes.
    let code = unsafe { function(text.as_mut_ptr().cast(), TEXT_BYTES as c_int, device) };
    driver.check(call, code)?;
    let length = text.iter().position(|byte| *byte == 0).unwrap_or(TEXT_BYTES);
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

/// The driver gives the bytes alone; the prefix is as the management library has it.
fn uuid(driver: &Driver, device: CUdevice, name: &str) -> Result<String> {
    let read = |call, function: unsafe extern "C" fn(*mut CUuuid, CUdevice) -> Code| {
        let mut uuid = CUuuid { bytes: [0; 16] };
        // SAFETY: the driver writes 16 bytes.
        let code = unsafe { function(&raw mut uuid, device) };
        driver.check(call, code).map(|()| uuid.bytes.map(|byte| byte as u8))
    };
    let whole = read("cuDeviceGetUuid", driver.symbols.cuDeviceGetUuid)?;
    let own = match driver.symbols.cuDeviceGetUuid_v2 {
        Some(function) => read("cuDeviceGetUuid_v2", function)?,
        None => whole,
    };
    let is_part = own != whole || name.contains(" MIG ");
    Ok(spell(if is_part { "MIG" } else { "GPU" }, own))
}

/// `<prefix>-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`
fn spell(prefix: &str, bytes: [u8; 16]) -> String {
    let hex = |range: std::ops::Range<usize>| -> String {
        bytes[range].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    [prefix.to_owned(), hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)].join("-")
}
