//! Primary contexts, and which is current.

use std::ffi::c_int;

use crate::code::{Code, INVALID_CONTEXT, INVALID_DEVICE, check, put};
use crate::devices::number;
use crate::state::{current, in_context, initialized, set_current};

/// Address of the context of GPU 0; the others follow.
const FIRST: u64 = 0xC0DE_0000;

fn address(device: Option<usize>) -> u64 {
    device.map_or(0, |device| FIRST + device as u64)
}

/// # Safety
/// As CUDA says; so for all of these.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut u64, device: c_int) -> Code {
    initialized(|state| {
        let number = number(device)?;
        *state.retained.entry(number).or_default() += 1;
        // SAFETY: as the caller says.
        unsafe { put(context, address(Some(number))) }
    })
}

/// # Safety
/// As for [`cuDevicePrimaryCtxRetain`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> Code {
    initialized(|state| {
        let count = state.retained.get_mut(&number(device)?).filter(|count| **count > 0);
        *count.ok_or(INVALID_CONTEXT)? -= 1;
        Ok(())
    })
}

/// # Safety
/// As for [`cuDevicePrimaryCtxRetain`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuCtxSetCurrent(context: u64) -> Code {
    initialized(|state| {
        let device = context.checked_sub(FIRST).map(|device| device as usize);
        check(
            context == 0 || device.is_some_and(|device| state.retained.contains_key(&device)),
            INVALID_CONTEXT,
        )?;
        set_current(device);
        Ok(())
    })
}

/// # Safety
/// As for [`cuDevicePrimaryCtxRetain`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuCtxGetCurrent(context: *mut u64) -> Code {
    // SAFETY: as the caller says.
    initialized(|_| unsafe { put(context, address(current())) })
}

/// # Safety
/// As for [`cuDevicePrimaryCtxRetain`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuCtxGetDevice(device: *mut c_int) -> Code {
    in_context(|_, current| {
        let ordinal = crate::settings::settings().visible.iter().position(|number| *number == current);
        // SAFETY: as the caller says.
        unsafe { put(device, ordinal.ok_or(INVALID_DEVICE)? as c_int) }
    })
}

/// # Safety
/// As for [`cuDevicePrimaryCtxRetain`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) -> Code {
    in_context(|_, _| {
        // SAFETY: as the caller says.
        unsafe { put(least, 0) }?;
        // SAFETY: as the caller says.
        unsafe { put(greatest, -5) }
    })
}

/// # Safety
/// As for [`cuDevicePrimaryCtxRetain`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuCtxSynchronize() -> Code {
    in_context(|state, _| state.not_capturing())
}
