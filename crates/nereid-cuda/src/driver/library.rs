//! The loaded driver: whether there is one, and what its results mean.

#![allow(unsafe_code, reason = "the driver is a C library")]

use std::ffi::{CStr, c_char};
use std::panic::catch_unwind;

use cudarc::driver::sys;

use super::Unavailable;
use super::symbols::{Code, Symbols};
use crate::{CudaError, Result};

/// `CUDA_ERROR_NO_DEVICE`
const NO_DEVICE: Code = 100;

/// The driver, loaded and initialized. It is never unloaded.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) symbols: Symbols,
}

impl Driver {
    /// # Errors
    /// The library is not there, is too old, or does not find a GPU that it can use.
    pub(super) fn load() -> Result<Self, Unavailable> {
        // SAFETY: loading the driver runs its initializers, which ask nothing of the process.
        if !unsafe { sys::is_culib_present() } {
            return Err(Unavailable::new("the NVIDIA driver is not there (libcuda.so.1 cannot be loaded)"));
        }
        // It panics if the library went away since.
        // SAFETY: as above.
        let library = catch_unwind(|| unsafe { sys::culib() })
            .map_err(|_| Unavailable::new("libcuda.so.1 cannot be loaded"))?;
        let symbols = Symbols::find(library).map_err(|name| {
            Unavailable::new(format!("the NVIDIA driver is too old: libcuda.so.1 has no function {name}"))
        })?;
        let driver = Self { symbols };
        // SAFETY: this is the first call, as the driver wants it.
        let code = unsafe { (driver.symbols.cuInit)(0) };
        match driver.check("cuInit", code) {
            Ok(()) => Ok(driver),
            Err(error) if code == NO_DEVICE => Err(Unavailable::new(format!("there is no GPU: {error}"))),
            Err(error) => Err(Unavailable::new(format!("the NVIDIA driver does not work: {error}"))),
        }
    }

    /// # Errors
    /// The result of `call`, unless it is success.
    pub(super) fn check(&self, call: &'static str, code: Code) -> Result<()> {
        if code == 0 { Ok(()) } else { Err(self.error(call, code)) }
    }

    #[cold]
    fn error(&self, call: &'static str, code: Code) -> CudaError {
        let Symbols { cuGetErrorName: name, cuGetErrorString: description, .. } = self.symbols;
        let text = |function: unsafe extern "C" fn(Code, *mut *const c_char) -> Code| {
            let mut text = std::ptr::null();
            // SAFETY: the function takes any code and a place for a pointer.
            let found = unsafe { function(code, &raw mut text) };
            if found != 0 || text.is_null() {
                return None;
            }
            // SAFETY: the driver gave a C string, which is there for ever.
            Some(unsafe { CStr::from_ptr(text) }.to_string_lossy())
        };
        let reason = match (text(name), text(description)) {
            (Some(name), Some(description)) => format!("{name}, {description}"),
            (Some(name), None) => name.into_owned(),
            (None, _) => "an error that the driver has no name for".to_owned(),
        };
        CudaError { call, code, reason }
    }
}
