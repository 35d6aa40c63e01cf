//! Libraries with layers that TensorRT does not have. They register themselves when they are loaded.

use std::ffi::{CStr, c_char, c_void};
use std::path::{Path, PathBuf};

use super::error::LoadError;
use super::load::Library;
use super::shared_object::SharedObject;

/// `initLibNvInferPlugins`: the logger and the namespace.
type InitFunction = unsafe extern "C" fn(*mut c_void, *const c_char) -> bool;
const INIT: &CStr = c"initLibNvInferPlugins";

impl Library {
    /// Loads the plugin library at `path`, for every plan that is deserialised from now on.
    ///
    /// # Errors
    /// It cannot be loaded, or says that it could not register its plugins.
    pub fn load_plugins(&self, path: &Path) -> Result<(), LoadError> {
        self.load_plugin_library(path).map_err(|reason| LoadError {
            wanted: "TensorRT's plugins".to_owned(),
            tried: vec![(path.to_owned(), reason)],
            advice: "check that it was built for this version of TensorRT",
        })
    }

    /// Loads NVIDIA's own plugins (`libnvinfer_plugin`), where they are installed with the library. True: they are.
    pub fn load_standard_plugins(&self) -> bool {
        let name = format!("libnvinfer_plugin.so.{}", self.version().major);
        let beside = self.path().parent().filter(|folder| !folder.as_os_str().is_empty());
        let path = beside.map_or_else(|| PathBuf::from(&name), |folder| folder.join(&name));
        match self.load_plugin_library(&path) {
            Ok(()) => true,
            Err(reason) => {
                tracing::debug!("no standard plugins of TensorRT: '{}' ({reason})", path.display());
                false
            }
        }
    }

    fn load_plugin_library(&self, path: &Path) -> Result<(), String> {
        let object = SharedObject::open(path)?;
        // SAFETY: the type of that function in TensorRT 10 and 11.
        let init: Option<InitFunction> = unsafe { object.function(INIT) };
        let Some(init) = init else {
            return Ok(()); // its initialisers have registered what it has
        };
        let mark = self.log().mark();
        // SAFETY: the logger is never freed, and the namespace is a C string.
        if unsafe { init(self.logger(), c"".as_ptr()) } {
            Ok(())
        } else {
            Err(self.log().failure("initLibNvInferPlugins", mark).to_string())
        }
    }
}
