//! The caller's logger and error recorder.

use std::ffi::{CString, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::golden::position;
use super::object::die;

pub const ERROR: i32 = 1;
pub const WARNING: i32 = 2;
pub const INFO: i32 = 3;
pub const VERBOSE: i32 = 4;

/// TensorRT's codes for an error recorder.
pub const INTERNAL_ERROR: i32 = 2;
pub const INVALID_ARGUMENT: i32 = 3;
pub const FAILED_ALLOCATION: i32 = 5;
pub const FAILED_EXECUTION: i32 = 7;

type LogFunction = unsafe extern "C" fn(*mut c_void, i32, *const std::ffi::c_char);
type ReportFunction = unsafe extern "C" fn(*mut c_void, i32, *const std::ffi::c_char) -> bool;
type CountFunction = unsafe extern "C" fn(*mut c_void) -> i32;

/// Where an object says what happens.
#[derive(Clone, Debug)]
pub struct Log {
    logger: usize,
    recorder: Arc<AtomicUsize>,
}

impl Log {
    pub fn new(logger: *mut c_void) -> Self {
        if logger.is_null() {
            die("the logger is null");
        }
        Self { logger: logger as usize, recorder: Arc::default() }
    }

    pub fn logger(&self) -> *mut c_void {
        self.logger as *mut c_void
    }

    pub fn line(&self, severity: i32, line: &str) {
        let slot = position("ILogger", "log(ILogger::Severity, const AsciiChar *)")
            .or_else(|| position("ILogger", "log(v_1_0::ILogger::Severity, const AsciiChar *)"))
            .expect("the golden table has ILogger::log");
        let line = CString::new(line).expect("no zero in a line");
        let log: LogFunction = method(self.logger(), slot);
        // SAFETY: the caller's logger, which lives as long as the library.
        unsafe { log(self.logger(), severity, line.as_ptr()) };
    }

    /// An error in the words of TensorRT: `kind` is such as `3: API Usage Error`.
    pub fn error(&self, function: &str, code: i32, kind: &str, what: &str) {
        let line = format!("{function}: Error Code {kind} ({what})");
        self.line(ERROR, &line);
        let recorder = self.recorder.load(Ordering::SeqCst) as *mut c_void;
        if recorder.is_null() {
            return;
        }
        let slot = position("IErrorRecorder", "reportError(ErrorCode, v_1_0::IErrorRecorder::ErrorDesc)");
        let report: ReportFunction = method(recorder, slot.expect("the golden table has reportError"));
        let line = CString::new(what).expect("no zero in a line");
        // SAFETY: the caller's recorder, which is there until it is replaced.
        unsafe { report(recorder, code, line.as_ptr()) };
    }

    pub fn usage_error(&self, function: &str, what: &str) {
        self.error(function, INVALID_ARGUMENT, "3: API Usage Error", what);
    }

    pub fn set_recorder(&self, recorder: *mut c_void) {
        let slot = position("IErrorRecorder", "incRefCount()").expect("the golden table has incRefCount");
        if !recorder.is_null() {
            let acquire: CountFunction = method(recorder, slot);
            // SAFETY: the caller's recorder.
            unsafe { acquire(recorder) };
        }
        self.recorder.store(recorder as usize, Ordering::SeqCst);
    }
}

/// The method at `slot` of an object of the caller's.
pub fn method<F: Copy>(object: *mut c_void, slot: usize) -> F {
    // SAFETY: an object begins with the address of its vtable.
    let vtable = unsafe { object.cast::<*const F>().read() };
    // SAFETY: the golden table says that the vtable has this slot.
    let entry = unsafe { vtable.add(slot) };
    // SAFETY: as above, of the type that the signature says.
    unsafe { entry.read() }
}
