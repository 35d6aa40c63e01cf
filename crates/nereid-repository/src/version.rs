//! One loaded version of a model, and how it ends: when nobody holds it any more, the reaper lets its scheduler
//! finish, frees it, and only then reports it gone.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use nereid_core::ModelConfig;
use nereid_core::backend::{Instance, Model};
use nereid_protocol::inference;
use nereid_scheduler::{Scheduler, SeriesId};
use parking_lot::Mutex;

use crate::config::metrics;
use crate::disk::ModelDir;
use crate::reaper::Reaper;
use crate::table::Table;
use crate::{Labels, ModelId};

/// A loaded version of a model. Whoever holds it may use it, also after it was unloaded.
pub struct ModelVersion {
    pub id: ModelId,
    pub version: u64,
    /// What the program works with.
    pub config: Arc<ModelConfig>,
    /// What clients are shown: completed and normalised.
    pub wire_config: Arc<inference::ModelConfig>,
    pub labels: Arc<Labels>,
    /// How long loading took, all attempts together.
    pub load_duration: Duration,
    /// The config's platform, or its backend where it has none (metadata shows this).
    pub platform: String,
    pub(crate) serial: u64,
    /// Shared with a version that differs in the config alone. Taken when the version is dropped.
    running: Option<Arc<Running>>,
    reaper: Reaper,
}

/// What of a version must be torn down off the threads that serve requests: dropping it waits for the requests in
/// flight, however long they take, and frees the fields in this order.
pub(crate) struct Running {
    pub(crate) scheduler: Scheduler,
    /// The GPU in whose memory all its instances take tensors.
    pub(crate) device_memory: Option<i32>,
    /// Instances that the config wants loaded but never scheduled.
    #[expect(dead_code, reason = "held, never used")]
    pub(crate) passive: Mutex<Vec<Box<dyn Instance>>>,
    /// Kept for as long as its instances may run. Shared with a version that has other instances of it.
    pub(crate) model: Arc<Mutex<Box<dyn Model>>>,
    /// A temporary folder stays for as long as the model may read from it.
    #[expect(dead_code, reason = "held, never used")]
    pub(crate) dir: ModelDir,
    /// Last, because it says that everything is gone.
    pub(crate) departure: Departure,
}

/// Reports, when dropped, that a version is gone.
pub(crate) struct Departure {
    pub(crate) table: Weak<Table>,
    pub(crate) model: ModelId,
    pub(crate) version: u64,
    pub(crate) serial: u64,
}

/// What describes a version besides what runs it.
pub(crate) struct Description {
    pub(crate) id: ModelId,
    pub(crate) version: u64,
    pub(crate) config: Arc<ModelConfig>,
    pub(crate) wire_config: inference::ModelConfig,
    pub(crate) labels: Labels,
    pub(crate) load_duration: Duration,
}

impl ModelVersion {
    pub(crate) fn new(description: Description, running: Arc<Running>, reaper: Reaper) -> Self {
        let Description { id, version, config, wire_config, labels, load_duration } = description;
        let platform =
            if wire_config.platform.is_empty() { &wire_config.backend } else { &wire_config.platform };
        Self {
            id,
            version,
            config,
            platform: platform.clone(),
            wire_config: Arc::new(wire_config),
            labels: Arc::new(labels),
            load_duration,
            serial: running.departure.serial,
            running: Some(running),
            reaper,
        }
    }

    /// The series of metrics that this version is part of.
    pub fn series(&self) -> SeriesId {
        metrics::series(&self.id, self.version, &self.wire_config)
    }

    /// This version with another config.
    pub(crate) fn adapted(
        &self,
        config: Arc<ModelConfig>,
        wire_config: inference::ModelConfig,
        running: Arc<Running>,
    ) -> Self {
        Self {
            id: self.id.clone(),
            version: self.version,
            config,
            wire_config: Arc::new(wire_config),
            labels: self.labels.clone(),
            load_duration: self.load_duration,
            platform: self.platform.clone(),
            serial: running.departure.serial,
            running: Some(running),
            reaper: self.reaper.clone(),
        }
    }

    /// Takes this version's requests and counts them.
    pub fn scheduler(&self) -> &Scheduler {
        &self.running().scheduler
    }

    /// The GPU in whose memory requests may have such tensors as the config allows there
    /// ([`ModelConfig::input_may_be_on_device`]). `None`: all must be in host memory.
    pub fn device_memory(&self) -> Option<i32> {
        self.running().device_memory
    }

    pub(crate) fn running(&self) -> &Arc<Running> {
        self.running.as_ref().expect("taken only in drop")
    }
}

impl Drop for ModelVersion {
    fn drop(&mut self) {
        // Freeing a model takes long, and whoever drops the last reference may be serving requests.
        if let Some(running) = self.running.take().and_then(Arc::into_inner) {
            self.reaper.free(running);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.scheduler.join(); // its requests in flight finish; then the fields go, in their order
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.departed(&self.model, self.version, self.serial);
        }
    }
}

impl fmt::Debug for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelVersion")
            .field("id", &self.id)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
