//! Memory of GPUs, and page-locked memory of the host.

use std::ffi::c_uint;

use crate::code::{Code, INVALID_VALUE, OUT_OF_MEMORY, check, put};
use crate::mapping::Mapping;
use crate::settings::settings;
use crate::state::{Allocation, in_context};

/// # Safety
/// As CUDA says; so for all of these.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> Code {
    in_context(|state, device| {
        state.not_capturing()?;
        check(bytes > 0, INVALID_VALUE)?;
        let used = state.used(device).saturating_add(settings().used);
        let after = used.checked_add(bytes as u64).ok_or(OUT_OF_MEMORY)?;
        check(after <= settings().memory, OUT_OF_MEMORY)?;
        let mapping = Mapping::new(bytes as u64).ok_or(OUT_OF_MEMORY)?;
        // SAFETY: as the caller says.
        unsafe { put(address, mapping.start) }?;
        state.allocations.insert(mapping.start, Allocation { mapping, device });
        Ok(())
    })
}

/// # Safety
/// As for [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemFree_v2(address: u64) -> Code {
    in_context(|state, _| {
        state.not_capturing()?;
        state.allocations.remove(&address).map(drop).ok_or(INVALID_VALUE)
    })
}

/// # Safety
/// As for [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Code {
    in_context(|state, device| {
        let used = state.used(device).saturating_add(settings().used);
        // SAFETY: as the caller says.
        unsafe { put(free, settings().memory.saturating_sub(used) as usize) }?;
        // SAFETY: as the caller says.
        unsafe { put(total, settings().memory as usize) }
    })
}

/// # Safety
/// As for [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemGetAddressRange_v2(
    start: *mut u64,
    bytes: *mut usize,
    address: u64,
) -> Code {
    in_context(|state, _| {
        let mapping = state.around(address).ok_or(INVALID_VALUE)?;
        // SAFETY: as the caller says.
        unsafe { put(start, mapping.start) }?;
        // SAFETY: as the caller says.
        unsafe { put(bytes, mapping.bytes as usize) }
    })
}

/// # Safety
/// As for [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemHostAlloc(memory: *mut u64, bytes: usize, flags: c_uint) -> Code {
    in_context(|state, _| {
        state.not_capturing()?;
        check(bytes > 0 && flags & !7 == 0, INVALID_VALUE)?;
        let mapping = Mapping::new(bytes as u64).ok_or(OUT_OF_MEMORY)?;
        // SAFETY: as the caller says.
        unsafe { put(memory, mapping.start) }?;
        state.pinned.insert(mapping.start, mapping);
        Ok(())
    })
}

/// # Safety
/// As for [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemFreeHost(memory: u64) -> Code {
    in_context(|state, _| {
        state.not_capturing()?;
        state.pinned.remove(&memory).map(drop).ok_or(INVALID_VALUE)
    })
}
