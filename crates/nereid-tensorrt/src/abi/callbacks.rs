//! What the objects of ours that TensorRT calls have in common.

use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::layout::InterfaceInfo;

/// In front of a vtable's address point: the distance to the whole object and the type's description. There is none, since
/// TensorRT does not ask what is behind an interface.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Prefix {
    offset_to_top: isize,
    type_info: *const c_void,
}

impl Prefix {
    pub(crate) const NONE: Self = Self { offset_to_top: 0, type_info: std::ptr::null() };
}

/// `IVersionedInterface::getAPILanguage`: C++.
pub(crate) extern "C" fn api_language(_this: *const c_void) -> i32 {
    0
}

/// `getInterfaceInfo` of version 1.0 of `kind`.
pub(crate) fn version_1(kind: &'static CStr) -> InterfaceInfo {
    InterfaceInfo { kind: kind.as_ptr(), major: 1, minor: 0 }
}

/// A destructor that TensorRT never calls: the objects are ours.
pub(crate) extern "C" fn no_destructor(_this: *mut c_void) {}

/// `body`, or `otherwise` if it panics: nothing may unwind into C++.
pub(crate) fn guarded<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// What is at `text`, with replacements for what is not UTF-8; nothing for null.
///
/// # Safety
/// `text` is null or ends with a zero byte.
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller promises the end.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
