//! What all models of the backend share: the GPUs, the library of TensorRT and its plugins, and what the command line says.

use std::path::PathBuf;
use std::sync::Arc;

use nereid_core::{Error, Result};
use nereid_cuda::{Device, PinnedPool, driver};
use nereid_tensorrt::{Library, LoadOptions};
use parking_lot::{Mutex, MutexGuard};

use crate::settings::Settings;

/// See above. Making it is cheap: GPUs and library are looked for when the first model needs them.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) settings: Settings,
    /// Where the library is; `None`: where the binding looks.
    library_path: Option<PathBuf>,
    /// `None`: those of the driver.
    given: Option<Vec<Arc<dyn Device>>>,
    pool: Arc<PinnedPool>,
    min_compute_capability: f64,
    loaded: Mutex<Option<Loaded>>,
    creation: Mutex<()>,
}

/// The library, and what went wrong with plugins.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) library: Arc<Library>,
    /// A plan that needs one of these fails, and then they are the reason.
    pub(crate) plugin_failures: Arc<[String]>,
}

impl Platform {
    pub(crate) fn new(
        settings: Settings,
        library_path: Option<PathBuf>,
        given: Option<Vec<Arc<dyn Device>>>,
        pool: Option<Arc<PinnedPool>>,
        min_compute_capability: f64,
    ) -> Self {
        let library_path = settings.library.clone().or(library_path);
        let (loaded, creation) = (Mutex::default(), Mutex::default());
        let pool = pool.unwrap_or_else(|| PinnedPool::new(usize::MAX));
        Self { settings, library_path, given, pool, min_compute_capability, loaded, creation }
    }

    /// The GPUs of the machine, by their numbers.
    ///
    /// # Errors
    /// Why there are none.
    pub(crate) fn devices(&self) -> Result<&[Arc<dyn Device>], String> {
        match &self.given {
            Some(devices) if devices.is_empty() => Err("there is no GPU".to_owned()),
            Some(devices) => Ok(devices),
            None => driver::devices().map_err(|why| why.to_string()),
        }
    }

    /// GPU number `ordinal`.
    ///
    /// # Errors
    /// `Internal`: there is none of this number, or it is too old.
    pub(crate) fn device(&self, ordinal: i32) -> Result<&Arc<dyn Device>> {
        let unusable =
            |why: String| Error::internal(format!("unable to set CUDA device to GPU {ordinal} : {why}"));
        let devices = self.devices().map_err(unusable)?;
        let device = devices.iter().find(|device| device.info().ordinal == ordinal);
        let device = device.ok_or_else(|| unusable(format!("there are {} GPUs", devices.len())))?;
        let (major, minor) = device.info().compute_capability;
        let least = self.min_compute_capability;
        if f64::from(major) + f64::from(minor) / 10.0 < least {
            return Err(unusable(format!("its compute capability {major}.{minor} is less than {least:.1}")));
        }
        Ok(device)
    }

    /// The library, loaded by the first call that succeeds. The caller has found a GPU: without a driver, some libraries of
    /// TensorRT crash.
    ///
    /// # Errors
    /// `Unavailable`, with every path that was tried.
    pub(crate) fn library(&self) -> Result<Loaded> {
        let mut loaded = self.loaded.lock();
        if let Some(loaded) = &*loaded {
            return Ok(loaded.clone());
        }
        let options = LoadOptions { path: self.library_path.clone(), allow_rtx: true, ..Default::default() };
        let library = Library::load(&options).map_err(|e| Error::unavailable(e.to_string()))?;
        tracing::info!(
            "{} {} from '{}'",
            library.flavor().name(),
            library.version(),
            library.path().display()
        );
        library.load_standard_plugins();
        let mut failures = Vec::new();
        for path in &self.settings.plugins {
            if let Err(e) = library.load_plugins(path) {
                tracing::error!("{e}");
                failures.push(e.to_string());
            }
        }
        let plugin_failures = failures.into();
        Ok(loaded.insert(Loaded { library, plugin_failures }).clone())
    }

    /// In which page-locked memory counts.
    pub(crate) fn pool(&self) -> &Arc<PinnedPool> {
        &self.pool
    }

    /// Held while an engine is made: TensorRT makes one at a time.
    pub(crate) fn creating(&self) -> MutexGuard<'_, ()> {
        self.creation.lock()
    }
}
