//! What all models of the backend share: the GPUs, the libraries of TensorRT and their plugins, and what the command line
//! says.

use std::path::PathBuf;
use std::sync::Arc;

use nereid_core::{Error, Result};
use nereid_cuda::{Device, PinnedPool, driver};
use nereid_tensorrt::{Libraries, Library, LoadOptions};
use parking_lot::{Mutex, MutexGuard};

use crate::settings::Settings;

/// See above. Making it is cheap: GPUs and libraries are looked for when the first model needs them.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) settings: Settings,
    libraries: Libraries,
    prepared: Mutex<Prepared>,
    /// `None`: those of the driver.
    given: Option<Vec<Arc<dyn Device>>>,
    pool: Arc<PinnedPool>,
    min_compute_capability: f64,
    creation: Mutex<()>,
}

/// Libraries that have been given the plugins.
#[derive(Debug, Default)]
struct Prepared {
    paths: Vec<PathBuf>,
    failures: Vec<String>,
}

impl Platform {
    pub(crate) fn new(
        settings: Settings,
        library_path: Option<PathBuf>,
        given: Option<Vec<Arc<dyn Device>>>,
        pool: Option<Arc<PinnedPool>>,
        min_compute_capability: f64,
    ) -> Self {
        let path = settings.library.clone().or(library_path);
        let libraries = Libraries::new(LoadOptions { path, ..Default::default() });
        let (prepared, creation) = (Mutex::default(), Mutex::default());
        let pool = pool.unwrap_or_else(|| PinnedPool::new(usize::MAX));
        Self { settings, libraries, prepared, given, pool, min_compute_capability, creation }
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
        let least = self.min_compute_capability;
        if !device.info().suffices(least) {
            let (major, minor) = device.info().compute_capability;
            return Err(unusable(format!("its compute capability {major}.{minor} is less than {least:.1}")));
        }
        Ok(device)
    }

    /// The libraries of TensorRT. The caller has found a GPU: without a driver, some of them crash.
    pub(crate) fn libraries(&self) -> &Libraries {
        &self.libraries
    }

    /// Gives `library` the plugins, unless it has them.
    pub(crate) fn prepare(&self, library: &Library) {
        let mut prepared = self.prepared.lock();
        let path = library.path();
        if prepared.paths.iter().any(|known| known == path) {
            return;
        }
        prepared.paths.push(path.to_owned());
        tracing::info!("{} {} from '{}'", library.flavor().name(), library.version(), path.display());
        library.load_standard_plugins();
        for plugins in &self.settings.plugins {
            if let Err(e) = library.load_plugins(plugins) {
                tracing::error!("{e}");
                prepared.failures.push(e.to_string());
            }
        }
    }

    /// What went wrong with plugins: a plan that needs one of them fails, and then they are the reason.
    pub(crate) fn plugin_failures(&self) -> Vec<String> {
        self.prepared.lock().failures.clone()
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
