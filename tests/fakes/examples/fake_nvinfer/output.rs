//! The caller's output allocators.

use std::ffi::{CStr, CString, c_char, c_void};

use super::dims::Dims;
use super::golden::position;
use super::log::method;
use super::object::die;

#[repr(C)]
struct InterfaceInfo {
    kind: *const c_char,
    major: i32,
    minor: i32,
}

type Language = unsafe extern "C" fn(*mut c_void) -> i32;
type Info = unsafe extern "C" fn(*mut c_void) -> InterfaceInfo;
type Reallocate =
    unsafe extern "C" fn(*mut c_void, *const c_char, *mut c_void, u64, u64, *mut c_void) -> *mut c_void;
type Notify = unsafe extern "C" fn(*mut c_void, *const c_char, *const Dims);

/// Ends the process unless the object says what it should of itself.
pub fn check(allocator: *mut c_void) {
    let language: Language = method(allocator, 0);
    // SAFETY: the first method of every versioned interface.
    let language = unsafe { language(allocator) };
    let info: Info = method(allocator, slot("getInterfaceInfo()"));
    // SAFETY: the caller's allocator.
    let info = unsafe { info(allocator) };
    // SAFETY: a C string that is part of the caller's program.
    let kind = unsafe { CStr::from_ptr(info.kind) };
    if (language, kind, info.major, info.minor) != (0, c"IOutputAllocator", 1, 0) {
        die(&format!(
            "an output allocator says that it is {kind:?} {}.{} in {language}",
            info.major, info.minor
        ));
    }
}

/// Memory for `bytes` bytes, and the word about the shape. Null: there is none.
pub fn allocate(
    allocator: *mut c_void,
    tensor: &CString,
    current: *mut c_void,
    bytes: usize,
    stream: *mut c_void,
) -> *mut c_void {
    let reallocate: Reallocate = method(
        allocator,
        slot("reallocateOutputAsync(const char *, void *, uint64_t, uint64_t, cudaStream_t)"),
    );
    // TensorRT asks for something even for nothing.
    // SAFETY: the caller's allocator, which is there until it is replaced.
    unsafe { reallocate(allocator, tensor.as_ptr(), current, bytes.max(1) as u64, 256, stream) }
}

pub fn notify(allocator: *mut c_void, tensor: &CString, shape: &[i64]) {
    let notify: Notify = method(allocator, slot("notifyShape(const char *, const Dims &)"));
    let dims = Dims::of(shape);
    // SAFETY: as above; the shape is there during the call.
    unsafe { notify(allocator, tensor.as_ptr(), &raw const dims) };
}

fn slot(signature: &'static str) -> usize {
    position("IOutputAllocator", signature).expect("the golden table has it")
}
