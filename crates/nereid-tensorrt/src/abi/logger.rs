//! `ILogger`, in the two layouts that it has.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::callbacks::{Prefix, api_language, guarded, no_destructor, text, version_1};
use super::layout::InterfaceInfo;
use crate::log::{Log, Severity};
use crate::version::Family;

type LogFunction = extern "C" fn(*const Logger, i32, *const c_char);
type Destructor = extern "C" fn(*mut c_void);

#[repr(C)]
struct TableV10 {
    prefix: Prefix,
    log: LogFunction,
    complete_destructor: Destructor,
    deleting_destructor: Destructor,
}

#[repr(C)]
struct TableV11 {
    prefix: Prefix,
    api_language: extern "C" fn(*const c_void) -> i32,
    interface_info: extern "C" fn(*const c_void) -> InterfaceInfo,
    complete_destructor: Destructor,
    deleting_destructor: Destructor,
    log: LogFunction,
}

// SAFETY: the null pointer in the prefix is never followed; the rest is functions.
unsafe impl Sync for TableV10 {}
// SAFETY: as above.
unsafe impl Sync for TableV11 {}

static V10: TableV10 = TableV10 {
    prefix: Prefix::NONE,
    log,
    complete_destructor: no_destructor,
    deleting_destructor: no_destructor,
};

static V11: TableV11 = TableV11 {
    prefix: Prefix::NONE,
    api_language,
    interface_info,
    complete_destructor: no_destructor,
    deleting_destructor: no_destructor,
    log,
};

/// What `createInferRuntime` takes. TensorRT keeps its address for as long as the library is loaded.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Logger {
    vtable: *const c_void,
    log: Arc<Log>,
}

// SAFETY: the vtable is a constant, and the log takes lines from any thread.
unsafe impl Send for Logger {}
// SAFETY: as above.
unsafe impl Sync for Logger {}

impl Logger {
    /// A logger that is never freed: libraries are not unloaded, and the first of theirs stays their global one.
    pub(crate) fn leak(family: Family, log: Arc<Log>) -> &'static Self {
        let vtable = match family {
            Family::V10 => std::ptr::from_ref(&V10.log).cast(),
            Family::V11 => std::ptr::from_ref(&V11.api_language).cast(),
        };
        Box::leak(Box::new(Self { vtable, log }))
    }
}

extern "C" fn log(this: *const Logger, severity: i32, message: *const c_char) {
    guarded((), || {
        // SAFETY: TensorRT passes the address that it was given, of a logger that is never freed.
        let logger = unsafe { &*this };
        // SAFETY: TensorRT passes a C string, or null.
        let message = unsafe { text(message) };
        logger.log.line(Severity::from_number(severity), &message);
    });
}

extern "C" fn interface_info(_this: *const c_void) -> InterfaceInfo {
    version_1(c"ILogger")
}

/// Position and signature of every entry, for the test against the golden table.
#[cfg(test)]
pub(crate) fn golden(family: Family) -> Vec<(&'static str, usize)> {
    use std::mem::offset_of;
    const V10_START: usize = offset_of!(TableV10, log);
    const V11_START: usize = offset_of!(TableV11, api_language);
    match family {
        Family::V10 => vec![
            ("ILogger::log(", offset_of!(TableV10, log) - V10_START),
            ("ILogger::~ILogger() [complete]", offset_of!(TableV10, complete_destructor) - V10_START),
            ("ILogger::~ILogger() [deleting]", offset_of!(TableV10, deleting_destructor) - V10_START),
        ],
        Family::V11 => vec![
            ("ILogger::getInterfaceInfo() const", offset_of!(TableV11, interface_info) - V11_START),
            ("ILogger::~ILogger() [complete]", offset_of!(TableV11, complete_destructor) - V11_START),
            ("ILogger::~ILogger() [deleting]", offset_of!(TableV11, deleting_destructor) - V11_START),
            ("ILogger::log(", offset_of!(TableV11, log) - V11_START),
        ],
    }
}
