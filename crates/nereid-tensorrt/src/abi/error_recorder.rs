//! `IErrorRecorder`: gives the codes that the log does not have. It keeps nothing that TensorRT could ask for: what it is
//! told goes to the log of the library.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::callbacks::{Prefix, api_language, guarded, no_destructor, text, version_1};
use super::layout::InterfaceInfo;
use crate::log::Log;

/// `ErrorCode::kSUCCESS`
const SUCCESS: i32 = 0;

#[repr(C)]
struct Table {
    prefix: Prefix,
    api_language: extern "C" fn(*const c_void) -> i32,
    interface_info: extern "C" fn(*const c_void) -> InterfaceInfo,
    complete_destructor: extern "C" fn(*mut c_void),
    deleting_destructor: extern "C" fn(*mut c_void),
    error_count: extern "C" fn(*const c_void) -> i32,
    error_code: extern "C" fn(*const c_void, i32) -> i32,
    error_description: extern "C" fn(*const c_void, i32) -> *const c_char,
    has_overflowed: extern "C" fn(*const c_void) -> bool,
    clear: extern "C" fn(*const c_void),
    report: extern "C" fn(*const ErrorRecorder, i32, *const c_char) -> bool,
    acquire: extern "C" fn(*const c_void) -> i32,
    release: extern "C" fn(*const c_void) -> i32,
}

// SAFETY: the null pointer in the prefix is never followed; the rest is functions.
unsafe impl Sync for Table {}

static TABLE: Table = Table {
    prefix: Prefix::NONE,
    api_language,
    interface_info,
    complete_destructor: no_destructor,
    deleting_destructor: no_destructor,
    error_count: no_error,
    error_code: no_code,
    error_description: no_description,
    has_overflowed: no,
    clear: nothing,
    report,
    acquire: no_error,
    release: no_error,
};

/// What `setErrorRecorder` takes.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct ErrorRecorder {
    vtable: *const c_void,
    log: Arc<Log>,
}

// SAFETY: the vtable is a constant, and the log takes lines from any thread.
unsafe impl Send for ErrorRecorder {}
// SAFETY: as above.
unsafe impl Sync for ErrorRecorder {}

impl ErrorRecorder {
    /// A recorder that is never freed, so that it need not count who uses it.
    pub(crate) fn leak(log: Arc<Log>) -> &'static Self {
        Box::leak(Box::new(Self { vtable: std::ptr::from_ref(&TABLE.api_language).cast(), log }))
    }
}

/// True: the function of TensorRT that reports ends.
extern "C" fn report(this: *const ErrorRecorder, code: i32, description: *const c_char) -> bool {
    guarded((), || {
        // SAFETY: TensorRT passes the address that it was given, of a recorder that is never freed.
        let recorder = unsafe { &*this };
        // SAFETY: TensorRT passes a C string, or null.
        let description = unsafe { text(description) };
        recorder.log.recorded(code, &description);
    });
    true
}

extern "C" fn interface_info(_this: *const c_void) -> InterfaceInfo {
    version_1(c"IErrorRecorder")
}

extern "C" fn no_error(_this: *const c_void) -> i32 {
    0
}

extern "C" fn no_code(_this: *const c_void, _index: i32) -> i32 {
    SUCCESS
}

extern "C" fn no_description(_this: *const c_void, _index: i32) -> *const c_char {
    c"".as_ptr()
}

extern "C" fn no(_this: *const c_void) -> bool {
    false
}

extern "C" fn nothing(_this: *const c_void) {}

/// Position and signature of every entry, for the test against the golden table.
#[cfg(test)]
pub(crate) fn golden() -> Vec<(&'static str, usize)> {
    use std::mem::offset_of;
    const START: usize = offset_of!(Table, api_language);
    [
        ("IErrorRecorder::getInterfaceInfo() const", offset_of!(Table, interface_info)),
        ("IErrorRecorder::~IErrorRecorder() [complete]", offset_of!(Table, complete_destructor)),
        ("IErrorRecorder::~IErrorRecorder() [deleting]", offset_of!(Table, deleting_destructor)),
        ("IErrorRecorder::getNbErrors() const", offset_of!(Table, error_count)),
        ("IErrorRecorder::getErrorCode(int32_t) const", offset_of!(Table, error_code)),
        ("IErrorRecorder::getErrorDesc(int32_t) const", offset_of!(Table, error_description)),
        ("IErrorRecorder::hasOverflowed() const", offset_of!(Table, has_overflowed)),
        ("IErrorRecorder::clear()", offset_of!(Table, clear)),
        ("IErrorRecorder::reportError(", offset_of!(Table, report)),
        ("IErrorRecorder::incRefCount()", offset_of!(Table, acquire)),
        ("IErrorRecorder::decRefCount()", offset_of!(Table, release)),
    ]
    .into_iter()
    .map(|(signature, offset)| (signature, offset - START))
    .collect()
}
