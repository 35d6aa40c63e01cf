//! From a status of the C API to our error, with ONNX Runtime's own code and message.

use std::ffi::{CStr, c_int};

use nereid_core::{Error, Result};
use ort::sys::{OrtApi, OrtErrorCode, OrtStatus, OrtStatusPtr};

/// `Ok` for the null status. Takes ownership of the status.
///
/// # Errors
/// `Internal` with Triton's text `onnx runtime error <code>: <message>` (`onnxruntime_utils.h`).
#[inline]
pub(crate) fn check(api: &OrtApi, status: OrtStatusPtr) -> Result<()> {
    if status.0.is_null() { Ok(()) } else { Err(take(api, status.0)) }
}

/// Whether `error` is about an output for which the caller had made room: it has another shape than the
/// run gives it. The run as such may be fine.
pub(crate) fn is_about_room(error: &Error) -> bool {
    const TEXTS: [&str; 4] = [
        "ensure the pre-allocated shapes match",
        "OrtValue shape verification failed", // the same in older versions
        // Outputs that are copied from a GPU, in newer and older versions.
        "does not match the computed output shape",
        "Tensor size mismatch",
    ];
    TEXTS.iter().any(|text| error.message().contains(text))
}

#[cold]
fn take(api: &OrtApi, status: *mut OrtStatus) -> Error {
    // The code is read as a number: a newer library may know codes that the bindings' enum lacks.
    type Read = unsafe extern "system" fn(*const OrtStatus) -> c_int;
    type Declared = unsafe extern "system" fn(*const OrtStatus) -> OrtErrorCode;
    // SAFETY: the two types differ only in the result, an `i32` in the C ABI either way.
    let read: Read = unsafe { std::mem::transmute::<Declared, Read>(api.GetErrorCode) };
    // SAFETY: a status that is not null is valid until it is released.
    let code = unsafe { read(status) };
    // SAFETY: as above.
    let message = unsafe { (api.GetErrorMessage)(status) };
    // SAFETY: the message is a C string that lives as long as the status; it is copied here.
    let message = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    // SAFETY: the status is ours, and this is the last use of it and of its message.
    unsafe { (api.ReleaseStatus)(status) };
    Error::internal(format!("onnx runtime error {code}: {message}"))
}
