//! ONNX Runtime's log lines as `tracing` events. Lines below a warning are not even formatted.

use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ort::sys::OrtLoggingLevel;

/// The least severe level that the library hands over.
pub(crate) const LEVEL: OrtLoggingLevel = OrtLoggingLevel::ORT_LOGGING_LEVEL_WARNING;

/// The logging function that the environment is made with.
pub(crate) unsafe extern "system" fn log(
    _: *mut c_void,
    severity: OrtLoggingLevel,
    _category: *const c_char,
    _id: *const c_char,
    location: *const c_char,
    message: *const c_char,
) {
    // A panic of a subscriber must not unwind into C++.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: ONNX Runtime passes C strings that live during the call.
        let location = unsafe { text(&location) };
        // SAFETY: as above.
        let message = unsafe { text(&message) };
        match severity {
            OrtLoggingLevel::ORT_LOGGING_LEVEL_VERBOSE | OrtLoggingLevel::ORT_LOGGING_LEVEL_INFO => {
                tracing::debug!(%location, "onnx runtime: {message}");
            }
            OrtLoggingLevel::ORT_LOGGING_LEVEL_WARNING => {
                tracing::warn!(%location, "onnx runtime: {message}")
            }
            OrtLoggingLevel::ORT_LOGGING_LEVEL_ERROR | OrtLoggingLevel::ORT_LOGGING_LEVEL_FATAL => {
                tracing::error!(%location, "onnx runtime: {message}");
            }
        }
    }));
}

/// # Safety
/// `pointer` is null or a C string that outlives the borrow.
unsafe fn text(pointer: &*const c_char) -> std::borrow::Cow<'_, str> {
    if pointer.is_null() {
        return "".into();
    }
    // SAFETY: the caller promises it.
    unsafe { CStr::from_ptr(*pointer) }.to_string_lossy()
}
