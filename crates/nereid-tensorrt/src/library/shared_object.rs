//! A shared library that is never unloaded: TensorRT leaves threads and addresses of its own behind.

use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::path::Path;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// An open library.
#[derive(Debug)]
pub(crate) struct SharedObject(ManuallyDrop<Library>);

impl SharedObject {
    /// Opens the library at `path`; a bare name is looked for where the system keeps libraries.
    ///
    /// # Errors
    /// What the loader says, without the path in front.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        // SAFETY: the library's initialisers run. That somebody loads NVIDIA's libraries is what this crate is for.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
        match library {
            Ok(library) => Ok(Self(ManuallyDrop::new(library))),
            Err(error) => {
                let text =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), |e| e.to_string());
                Err(text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text).to_owned())
            }
        }
    }

    /// The function `name`, if there is one.
    ///
    /// # Safety
    /// `F` is the type of the function.
    pub(crate) unsafe fn function<F: Copy>(&self, name: &CStr) -> Option<F> {
        // SAFETY: the caller promises the type.
        let symbol = unsafe { self.0.get::<F>(name.to_bytes_with_nul()) };
        symbol.ok().map(|symbol| *symbol)
    }

    /// Whether there is a function `name`.
    pub(crate) fn has(&self, name: &CStr) -> bool {
        // SAFETY: its address is looked up, and it is not called.
        unsafe { self.function::<*const ()>(name) }.is_some()
    }
}
