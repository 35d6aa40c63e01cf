//! Owners of the C API's objects: each is released once, when dropped. No behaviour beyond that.

use std::ffi::{CString, c_char};
use std::ptr::NonNull;

use nereid_core::{Error, Result};
use ort::sys::{self, OrtStatusPtr};

use crate::error::check;

macro_rules! owned {
    ($(#[$doc:meta])* $name:ident, $sys:ident, $release:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[repr(transparent)]
        pub(crate) struct $name(NonNull<sys::$sys>);

        impl $name {
            /// What `make` stores in its argument, which starts as null.
            ///
            /// # Errors
            /// The status that `make` returned; `Internal` if it stored nothing.
            pub(crate) fn create(make: impl FnOnce(*mut *mut sys::$sys) -> OrtStatusPtr) -> Result<Self> {
                let mut out = std::ptr::null_mut();
                check(ort::api(), make(&mut out))?;
                NonNull::new(out).map(Self).ok_or_else(|| Error::internal("onnx runtime gave no object"))
            }

            /// The object; valid while `self` lives.
            #[inline]
            #[allow(dead_code, reason = "not every object is handed on")]
            pub(crate) fn as_ptr(&self) -> *mut sys::$sys {
                self.0.as_ptr()
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the object is ours, and this is its last use.
                unsafe { (ort::api().$release)(self.0.as_ptr()) }
            }
        }

        // SAFETY: the object has no tie to the thread that made it.
        unsafe impl Send for $name {}
    };
}

owned!(
    /// A loaded graph. The CPU provider allows several `Run` at once.
    Session, OrtSession, ReleaseSession
);
owned!(
    /// How to make a session.
    SessionOptions, OrtSessionOptions, ReleaseSessionOptions
);
owned!(
    /// Settings of one `Run`; also the handle to terminate it.
    RunOptions, OrtRunOptions, ReleaseRunOptions
);
owned!(
    /// Where memory lies.
    MemoryInfo, OrtMemoryInfo, ReleaseMemoryInfo
);
owned!(
    /// A tensor, its memory borrowed or owned. `Option<Value>` has the layout of a nullable pointer.
    Value, OrtValue, ReleaseValue
);
owned!(
    /// What an execution reads and writes.
    IoBinding, OrtIoBinding, ReleaseIoBinding
);
owned!(
    /// Type of an input or output.
    TypeInfo, OrtTypeInfo, ReleaseTypeInfo
);
owned!(
    /// Sizes of the thread pools that all sessions share.
    ThreadingOptions, OrtThreadingOptions, ReleaseThreadingOptions
);
owned!(
    /// Options of the CUDA provider.
    CudaOptions, OrtCUDAProviderOptionsV2, ReleaseCUDAProviderOptions
);
owned!(
    /// Options of the TensorRT provider.
    TensorRtOptions, OrtTensorRTProviderOptionsV2, ReleaseTensorRTProviderOptions
);

// SAFETY: after it was made a session is only run and asked about its graph; both may happen from
// several threads at once (`OrtApi::Run` is documented so).
unsafe impl Sync for Session {}
// SAFETY: once they are in use only the word to terminate changes, which ONNX Runtime lets any thread give.
unsafe impl Sync for RunOptions {}
// SAFETY: never changed after it was made.
unsafe impl Sync for MemoryInfo {}
// SAFETY: a finished value is only read, and releasing it takes ownership.
unsafe impl Sync for Value {}

/// `text` for the C API.
///
/// # Errors
/// `InvalidArg` if it contains NUL.
pub(crate) fn c_string(text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|e| {
        Error::invalid_arg(format!("'{}' contains a NUL byte", String::from_utf8_lossy(&e.into_vec())))
    })
}

/// Keys and values as the C API wants them: two arrays of C strings.
#[derive(Debug)]
pub(crate) struct KeyValues {
    _owned: Vec<(CString, CString)>,
    pub(crate) keys: Vec<*const c_char>,
    pub(crate) values: Vec<*const c_char>,
}

impl KeyValues {
    /// Copies the pairs.
    ///
    /// # Errors
    /// `InvalidArg` if one contains NUL.
    pub(crate) fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let pair = |(key, value)| Ok((c_string(key)?, c_string(value)?));
        let owned = pairs.into_iter().map(pair).collect::<Result<Vec<(CString, CString)>>>()?;
        let keys = owned.iter().map(|(key, _)| key.as_ptr()).collect();
        let values = owned.iter().map(|(_, value)| value.as_ptr()).collect();
        Ok(Self { _owned: owned, keys, values })
    }
}
