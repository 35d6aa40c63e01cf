//! What every thread sees of the models: a snapshot that is replaced as a whole. Reading takes no lock;
//! changes are rare, take turns, and each publishes a new snapshot.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use nereid_core::{Error, Result};
use parking_lot::{Condvar, Mutex};

use crate::ModelId;
use crate::identity::Namesakes;
use crate::states::{ModelEntry, Outcome};
use crate::version::Departure;

/// Models by name. Holds only models that were loaded or tried once.
pub(crate) type Models = HashMap<Arc<str>, Namesakes>;

/// What is known of `model`.
pub(crate) fn entry<'a>(models: &'a Models, model: &ModelId) -> Option<&'a ModelEntry> {
    models.get(&model.name)?.get(&model.namespace).map(|namesake| &*namesake.entry)
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    models: ArcSwap<Models>,
    write: Mutex<()>,
    serial: AtomicU64,
    /// Set once, with `write` held: no model may begin to serve any more.
    closing: AtomicBool,
    /// Version objects that exist, those included that only wait for their last requests.
    live: Mutex<usize>,
    none_live: Condvar,
}

impl Table {
    /// The present snapshot.
    pub(crate) fn models(&self) -> Guard<Arc<Models>> {
        self.models.load()
    }

    /// Changes the entry of `model`, which is made if there is none, and publishes the result. `change`
    /// must not drop the last reference to a version: that may come back here.
    pub(crate) fn update<R>(&self, model: &ModelId, change: impl FnOnce(&mut ModelEntry) -> R) -> R {
        self.publish(|models| {
            change(models.entry(model.name.clone()).or_default().get_or_add(&model.namespace))
        })
    }

    /// Takes every version of `model` out of service. One that is not known stays so.
    pub(crate) fn unload(&self, model: &ModelId) {
        self.publish(|models| {
            if let Some(entry) = models.get_mut(&model.name).and_then(|names| names.get_mut(&model.namespace))
            {
                entry.unload();
            }
        });
    }

    /// Takes every version of `model` out of service, and forgets those that never served.
    pub(crate) fn remove(&self, model: &ModelId) {
        self.publish(|models| {
            let Some(namesakes) = models.get_mut(&model.name) else { return };
            let Some(entry) = namesakes.get_mut(&model.namespace) else { return };
            entry.unload();
            entry.forget_failures();
            if entry.versions.is_empty() {
                namesakes.remove(&model.namespace);
            }
            // With a namespace the name stays known, as in Triton's global map.
            if namesakes.all().is_empty() && model.namespace.is_empty() {
                models.remove(&model.name);
            }
        });
    }

    /// Takes over the outcome of a load of `model`; see [`ModelEntry::finish_load`]. What becomes ready
    /// after [`Self::close`] is taken out of service in the same step.
    pub(crate) fn finish_load(&self, model: &ModelId, outcomes: Vec<Outcome>) -> Result<()> {
        let end = self.update(model, |entry| {
            let end = entry.finish_load(&outcomes);
            if self.closing.load(Ordering::Relaxed) {
                entry.unload();
            }
            end
        });
        drop(outcomes); // with what was rejected, and not sooner; see `update`
        end
    }

    /// From now on no model begins to serve.
    pub(crate) fn close(&self) {
        let _write = self.write.lock();
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Refuses a load after [`Self::close`].
    ///
    /// # Errors
    /// Unavailable, with the text of `InferenceServer::LoadModel`.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closing.load(Ordering::Relaxed) {
            return Err(Error::unavailable("Server not ready"));
        }
        Ok(())
    }

    /// Registers a new version object, which counts as live until the answer is dropped.
    pub(crate) fn arrived(self: &Arc<Self>, model: &ModelId, version: u64) -> Departure {
        *self.live.lock() += 1;
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        Departure { table: Arc::downgrade(self), model: model.clone(), version, serial }
    }

    /// The version object `serial` is gone.
    pub(crate) fn departed(&self, model: &ModelId, version: u64, serial: u64) {
        self.publish(|models| {
            let namesakes = models.get_mut(&model.name);
            if let Some(entry) = namesakes.and_then(|namesakes| namesakes.get_mut(&model.namespace)) {
                entry.departed(version, serial);
            }
        });
        let mut live = self.live.lock();
        *live = live.saturating_sub(1);
        if *live == 0 {
            self.none_live.notify_all();
        }
    }

    /// Waits until no version object exists, at most `timeout`. Returns how many are left.
    pub(crate) fn wait_until_empty(&self, timeout: Duration) -> usize {
        let mut live = self.live.lock();
        self.none_live.wait_while_for(&mut live, |live| *live > 0, timeout);
        *live
    }

    fn publish<R>(&self, change: impl FnOnce(&mut Models) -> R) -> R {
        let write = self.write.lock();
        let mut models = Models::clone(&self.models.load());
        let result = change(&mut models);
        let before = self.models.swap(Arc::new(models));
        drop(write);
        // Only now, because a version that nobody holds any more may have to report itself gone right here.
        drop(before);
        result
    }
}
