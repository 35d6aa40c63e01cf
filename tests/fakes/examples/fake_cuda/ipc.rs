//! Handles by which another process opens an allocation.

use std::ffi::c_uint;

use crate::code::{Code, INVALID_CONTEXT, INVALID_VALUE, check, put};
use crate::mapping::Mapping;
use crate::state::{Opened, in_context};

const MAGIC: u64 = 0x6970_6366_616b_6531;
/// `CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS`, without which the driver opens none.
const LAZY_ENABLE_PEER_ACCESS: c_uint = 1;

/// A `CUipcMemHandle`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Handle {
    bytes: [u8; 64],
}

/// Process, descriptor, number of the file, size.
fn encode(fields: [u64; 4]) -> Handle {
    let mut bytes = [0; 64];
    for (place, field) in bytes.chunks_exact_mut(8).zip([MAGIC].into_iter().chain(fields)) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    Handle { bytes }
}

fn decode(handle: &Handle) -> Option<[u64; 4]> {
    let field = |at: usize| Some(u64::from_le_bytes(handle.bytes.get(at * 8..at * 8 + 8)?.try_into().ok()?));
    (field(0)? == MAGIC).then_some(())?;
    Some([field(1)?, field(2)?, field(3)?, field(4)?])
}

/// # Safety
/// As CUDA says; so for all of these.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuIpcGetMemHandle(handle: *mut Handle, address: u64) -> Code {
    in_context(|state, _| {
        let mapping = &state.allocations.get(&address).ok_or(INVALID_VALUE)?.mapping;
        let process = u64::from(std::process::id());
        let fields = [process, u64::from(mapping.descriptor()), mapping.inode(), mapping.bytes];
        // SAFETY: as the caller says.
        unsafe { put(handle, encode(fields)) }
    })
}

/// # Safety
/// As for [`cuIpcGetMemHandle`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuIpcOpenMemHandle_v2(
    address: *mut u64,
    handle: Handle,
    flags: c_uint,
) -> Code {
    in_context(|state, _| {
        state.not_capturing()?;
        check(flags == LAZY_ENABLE_PEER_ACCESS, INVALID_VALUE)?;
        let [process, descriptor, inode, bytes] = decode(&handle).ok_or(INVALID_VALUE)?;
        let process = u32::try_from(process).map_err(|_| INVALID_VALUE)?;
        check(process != std::process::id(), INVALID_CONTEXT)?;
        if let Some((start, opened)) = state.opened.iter_mut().find(|(_, o)| o.handle == handle.bytes) {
            opened.count += 1;
            // SAFETY: as the caller says.
            return unsafe { put(address, *start) };
        }
        let descriptor = u32::try_from(descriptor).map_err(|_| INVALID_VALUE)?;
        let mapping = Mapping::open(process, descriptor, inode, bytes).ok_or(INVALID_VALUE)?;
        // SAFETY: as the caller says.
        unsafe { put(address, mapping.start) }?;
        state.opened.insert(mapping.start, Opened { mapping, handle: handle.bytes, count: 1 });
        Ok(())
    })
}

/// # Safety
/// As for [`cuIpcGetMemHandle`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuIpcCloseMemHandle(address: u64) -> Code {
    in_context(|state, _| {
        state.not_capturing()?;
        let opened = state.opened.get_mut(&address).ok_or(INVALID_VALUE)?;
        opened.count -= 1;
        if opened.count == 0 {
            state.opened.remove(&address);
        }
        Ok(())
    })
}
