//! The driver's start, and what it says about GPUs.

use std::ffi::{c_char, c_int, c_uint};

use crate::code::{Code, INVALID_DEVICE, INVALID_VALUE, NO_DEVICE, SUCCESS, check, put};
use crate::settings::settings;
use crate::state::{initialized, state};

const COMPUTE_CAPABILITY_MAJOR: c_uint = 75;
const COMPUTE_CAPABILITY_MINOR: c_uint = 76;

/// The number, in the machine, of the GPU that a process knows by its `CUdevice`.
pub(crate) fn number(device: c_int) -> Result<usize, Code> {
    let index = usize::try_from(device).map_err(|_| INVALID_DEVICE)?;
    settings().visible.get(index).copied().ok_or(INVALID_DEVICE)
}

/// The UUID of a GPU of the machine, as the management library spells it.
pub(crate) fn spelled(number: usize) -> String {
    format!("GPU-00000000-0000-0000-0000-{number:012x}")
}

fn uuid(number: usize, is_part: bool) -> [u8; 16] {
    let mut uuid = (number as u128).to_be_bytes();
    uuid[0] = if is_part { 0xFF } else { 0 };
    uuid
}

/// Writes `text`, cut to `length` bytes with its end.
///
/// # Safety
/// There is room for so many.
unsafe fn put_text(place: *mut c_char, length: c_int, text: &str) -> Result<(), Code> {
    let room = usize::try_from(length).ok().and_then(|length| length.checked_sub(1)).ok_or(INVALID_VALUE)?;
    check(!place.is_null(), INVALID_VALUE)?;
    let mut bytes = text.as_bytes()[..text.len().min(room)].to_vec();
    bytes.push(0);
    // SAFETY: there is room, as the caller says.
    unsafe { place.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Ok(())
}

/// # Safety
/// As CUDA says; so for all of these.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuInit(flags: c_uint) -> Code {
    let settings = settings();
    if settings.init_error != SUCCESS {
        return settings.init_error;
    }
    if flags != 0 {
        return INVALID_VALUE;
    }
    if settings.visible.is_empty() {
        return NO_DEVICE;
    }
    state().is_initialized = true;
    SUCCESS
}

/// # Safety
/// As for [`cuInit`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Code {
    // SAFETY: as the caller says.
    unsafe { put(version, 12_040) }.err().unwrap_or(SUCCESS)
}

/// # Safety
/// As for [`cuInit`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Code {
    // SAFETY: as the caller says.
    initialized(|_| unsafe { put(count, settings().visible.len() as c_int) })
}

/// # Safety
/// As for [`cuInit`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Code {
    initialized(|_| {
        number(ordinal)?;
        // SAFETY: as the caller says.
        unsafe { put(device, ordinal) }
    })
}

/// # Safety
/// As for [`cuInit`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) -> Code {
    initialized(|_| {
        number(device)?;
        let text = if settings().is_mig { "Fake GPU MIG 1g.5gb" } else { "Fake GPU" };
        // SAFETY: as the caller says.
        unsafe { put_text(name, length, text) }
    })
}

/// # Safety
/// As for [`cuInit`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDeviceGetPCIBusId(
    place: *mut c_char,
    length: c_int,
    device: c_int,
) -> Code {
    initialized(|_| {
        let text = format!("0000:{:02x}:00.0", number(device)?);
        // SAFETY: as the caller says.
        unsafe { put_text(place, length, &text) }
    })
}

/// # Safety
/// As for [`cuInit`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDeviceGetUuid(place: *mut [u8; 16], device: c_int) -> Code {
    // SAFETY: as the caller says.
    initialized(|_| unsafe { put(place, uuid(number(device)?, false)) })
}

/// # Safety
/// As for [`cuInit`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDeviceGetUuid_v2(place: *mut [u8; 16], device: c_int) -> Code {
    // SAFETY: as the caller says.
    initialized(|_| unsafe { put(place, uuid(number(device)?, settings().is_mig)) })
}

/// # Safety
/// As for [`cuInit`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDeviceGetAttribute(
    value: *mut c_int,
    attribute: c_uint,
    device: c_int,
) -> Code {
    initialized(|_| {
        let (major, minor) = settings().capability(number(device)?);
        let known = match attribute {
            COMPUTE_CAPABILITY_MAJOR => major,
            COMPUTE_CAPABILITY_MINOR => minor,
            _ => return Err(INVALID_VALUE),
        };
        // SAFETY: as the caller says.
        unsafe { put(value, known) }
    })
}

/// # Safety
/// As for [`cuInit`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> Code {
    initialized(|_| {
        number(device)?;
        // SAFETY: as the caller says.
        unsafe { put(bytes, settings().memory as usize) }
    })
}
