//! The engines of one version of a model: one for each GPU and DLA core, which its instances there share.
//!
//! Triton gives every instance an engine of its own as soon as a tensor has a varying dimension, since contexts that ran at
//! once had to use different profiles. From TensorRT 10 on they may share one (its flag for that,
//! `PROFILE_SHARING_0806`, is always on there), so that weights are on a GPU once. A version-compatible plan may be run by an
//! older TensorRT that comes with it: then instances do not share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Weak};

use nereid_core::Result;
use nereid_cuda::Device;
use nereid_tensorrt::Engine;
use parking_lot::Mutex;

use crate::load_plan;
use crate::platform::Platform;

/// Number of a GPU and of a DLA core.
type Place = (i32, Option<i64>);

/// See above. An engine goes with the last instance that has it.
#[derive(Debug)]
pub(crate) struct Engines {
    platform: Arc<Platform>,
    shared: Mutex<BTreeMap<Place, Weak<Engine>>>,
}

impl Engines {
    /// None yet.
    pub(crate) fn new(platform: Arc<Platform>) -> Self {
        Self { platform, shared: Mutex::default() }
    }

    /// The engine for `instance` on `device` and, if a number is given, a DLA core of it; `path` is its plan.
    ///
    /// # Errors
    /// No file, no library, no such core, or a plan that TensorRT refuses.
    pub(crate) fn get(
        &self,
        device: &Arc<dyn Device>,
        dla_core: Option<i64>,
        path: &Path,
        instance: &str,
    ) -> Result<Arc<Engine>> {
        let load = || load_plan::load(&self.platform, device, dla_core, path, instance);
        let place = (device.info().ordinal, dla_core);
        // Held while it loads, so that an instance that comes meanwhile shares it.
        let mut shared = self.shared.lock();
        if let Some(engine) = shared.get(&place).and_then(Weak::upgrade) {
            return Ok(engine);
        }
        let engine = load()?;
        let is_dynamic = engine.tensors().iter().any(|tensor| tensor.shape.contains(&-1));
        if !(is_dynamic && self.platform.settings.version_compatible) {
            shared.insert(place, Arc::downgrade(&engine));
        }
        Ok(engine)
    }
}
