//! Copies, at once and on streams.

use std::ffi::c_uchar;
use std::fs::OpenOptions;
use std::io::Write;

use crate::code::{Code, ILLEGAL_ADDRESS, INVALID_VALUE, SUCCESS, check};
use crate::settings::settings;
use crate::state::{in_context, state};
use crate::streams::{Node, put_into};

/// Notes a copy where `FAKE_CUDA_COPIES` says so.
fn note(kind: &str, bytes: usize) {
    let Some(path) = &settings().copies else { return };
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(format!("{kind} {bytes}\n").as_bytes()))
        .expect("a file to write to");
}

/// Puts a copy into `stream`, whose device memory is checked now and whenever it runs.
fn queue(stream: u64, to: u64, from: u64, bytes: usize, on_device: &[u64]) -> Code {
    let starts = on_device.to_vec();
    queue_step(stream, &starts, bytes, move || {
        // SAFETY: device memory was found just now, and the caller answers for that of the host.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
    })
}

fn queue_step(stream: u64, on_device: &[u64], bytes: usize, step: impl Fn() + Send + Sync + 'static) -> Code {
    let on_device = on_device.to_vec();
    let is_there =
        in_context(|state, _| check(on_device.iter().all(|start| state.have(*start, bytes)), INVALID_VALUE));
    if is_there != SUCCESS {
        return is_there;
    }
    let node: Node = Box::new(move || {
        if !on_device.iter().all(|start| state().have(*start, bytes)) {
            return ILLEGAL_ADDRESS;
        }
        step();
        SUCCESS
    });
    put_into(stream, node)
}

/// Of the copies that return when they have ended.
fn now(to: u64, from: u64, bytes: usize, on_device: u64) -> Code {
    match in_context(|state, _| state.not_capturing()) {
        SUCCESS => queue(0, to, from, bytes, &[on_device]),
        code => code,
    }
}

/// # Safety
/// As CUDA says; so for all of these.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: u64, bytes: usize) -> Code {
    note("HtoD", bytes);
    now(to, from, bytes, to)
}

/// # Safety
/// As for [`cuMemcpyHtoD_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemcpyDtoH_v2(to: u64, from: u64, bytes: usize) -> Code {
    note("DtoH", bytes);
    now(to, from, bytes, from)
}

/// # Safety
/// As for [`cuMemcpyHtoD_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) -> Code {
    note("HtoD", bytes);
    queue(stream, to, from, bytes, &[to])
}

/// # Safety
/// As for [`cuMemcpyHtoD_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) -> Code {
    note("DtoH", bytes);
    queue(stream, to, from, bytes, &[from])
}

/// # Safety
/// As for [`cuMemcpyHtoD_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) -> Code {
    note("DtoD", bytes);
    queue(stream, to, from, bytes, &[to, from])
}

/// # Safety
/// As for [`cuMemcpyHtoD_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemsetD8Async(to: u64, value: c_uchar, bytes: usize, stream: u64) -> Code {
    queue_step(stream, &[to], bytes, move || {
        // SAFETY: the memory was found just now.
        unsafe { (to as *mut u8).write_bytes(value, bytes) };
    })
}
