//! Poll mode: looks at the repositories from time to time and follows what has changed there
//! (`ModelRepositoryManager::PollAndUpdate`). What follows from two looks is decided in `changes`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nereid_core::{Error, Result};
use parking_lot::{Condvar, Mutex};

use crate::changes::{Changes, Snapshot, changes};
use crate::disk;
use crate::fingerprint::Fingerprint;
use crate::repository::Repository;
use crate::update::Wanted;
use crate::{ControlMode, LoadParameters, ModelId};

/// Ends a thread that waits.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Repository {
    /// Looks at the repositories once: unloads models that are gone or have become ambiguous, loads those that are
    /// new, have changed, or failed to load the last time. Blocks until they serve. What fails is in the log, and
    /// the old version serves on.
    ///
    /// # Errors
    /// Unavailable outside of poll mode and after [`Self::shutdown`]; Internal if a repository cannot be read. Then
    /// nothing changes, where Triton would unload the repository's models.
    pub fn poll_once(&self) -> Result<()> {
        if self.options.control != ControlMode::Poll {
            return Err(Error::unavailable("polling is disabled"));
        }
        self.table.check_open()?;
        let (Changes { load, unload }, ambiguous) = self.look()?;
        let names: Vec<&str> = load.union(&unload).map(|model| &*model.name).collect();
        let _turn = self.turns.take(&names);
        for model in &unload {
            self.awaited.lock().remove(model);
            self.forget(model);
            self.table.remove(model);
        }
        self.failed.retain(|model| self.is_on_disk(model));
        ambiguous.into_iter().for_each(|model| self.failed.add(model));
        let parameters = &LoadParameters::default();
        let wanted: Vec<_> = load.iter().map(|model| Wanted { model, parameters }).collect();
        let plan = self.plan(&wanted).and_without(unload.iter().map(|model| model.name.clone()));
        self.execute(plan);
        Ok(())
    }

    /// Calls [`Self::poll_once`] every `every` on a thread of its own, until [`Self::shutdown`].
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn follow(self: &Arc<Self>, every: Duration) -> Result<()> {
        let (repository, stop) = (Arc::downgrade(self), self.stop_polling.clone());
        let poll = move || {
            while !stop.wait(every) {
                let Some(repository) = repository.upgrade() else { return };
                if let Err(e) = repository.poll_once() {
                    tracing::error!("failed to poll model repository: {}", e.with_code());
                }
            }
        };
        match thread::Builder::new().name("model-poll".into()).spawn(poll) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::internal(format!("no thread to poll model repositories: {e}"))),
        }
    }

    /// What has changed, and the models of which there are several.
    fn look(&self) -> Result<(Changes<ModelId>, Vec<ModelId>)> {
        let (mut found, mut ambiguous) = (BTreeMap::new(), Vec::new());
        for (model, count) in disk::scan(&self.roots)? {
            if count == 1 {
                let dir = self.locate(&model).ok();
                found.insert(model, dir.and_then(|dir| Fingerprint::take(&dir).ok()));
            } else {
                tracing::error!("failed to poll model '{model}': not unique across all model repositories");
                ambiguous.push(model);
            }
        }
        let found: Snapshot<ModelId, &Fingerprint> =
            found.iter().map(|(model, fingerprint)| (model.clone(), fingerprint.as_ref())).collect();
        let sources = self.sources.lock();
        let fingerprint = |model: &ModelId| sources.get(model).and_then(|source| source.fingerprint.as_ref());
        let models = self.table.models();
        let loaded = models.iter().flat_map(|(name, namesakes)| {
            let present = namesakes.all().iter().filter(|namesake| !namesake.entry.retired);
            present.map(|namesake| namesake.id(name))
        });
        // Ensembles that do not fit their models have a source, and no version; models that could not be read at start
        // have neither, and may be gone by now.
        let awaited = self.awaited.lock().clone();
        let known = loaded.chain(sources.keys().cloned()).chain(awaited);
        let loaded = known.map(|model| (model.clone(), fingerprint(&model))).collect();
        Ok((changes(&loaded, &found), ambiguous))
    }
}

impl Stop {
    /// Waits for `time`, or less if stopped; says whether that is so.
    fn wait(&self, time: Duration) -> bool {
        let mut stopped = self.stopped.lock();
        self.changed.wait_while_for(&mut stopped, |stopped| !*stopped, time);
        *stopped
    }

    pub(crate) fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_all();
    }
}
