//! The lifecycle of one model: which state each of its versions is in and how it changes. Pure; the table
//! publishes the result (Triton's model_lifecycle.cc).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use nereid_core::{Error, Result};

use crate::ModelVersion;

/// Reason of a version that was unloaded, not broken.
pub(crate) const UNLOADED: &str = "unloaded";

/// State of one version, as the repository index shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Unknown,
    Ready,
    Unavailable,
    Loading,
    Unloading,
}

/// The versions of one model that were ever asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct ModelEntry {
    pub(crate) versions: BTreeMap<u64, Slot>,
    /// It was unloaded, or is gone from disk, and nobody has tried to load it since.
    pub(crate) retired: bool,
}

/// One version.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) state: State,
    /// Why it is not ready, if there is something to say.
    pub(crate) reason: String,
    /// There exactly when the state is [`State::Ready`].
    pub(crate) model: Option<Arc<ModelVersion>>,
    /// Number of the object that is or was here, so that late news of an older one are ignored.
    serial: u64,
}

/// How the load of one version ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) version: u64,
    /// The version serves and was only to be changed.
    pub(crate) in_place: bool,
    pub(crate) result: Result<Arc<ModelVersion>>,
}

impl State {
    /// The spelling of Triton, such as `READY`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Ready => "READY",
            Self::Unavailable => "UNAVAILABLE",
            Self::Loading => "LOADING",
            Self::Unloading => "UNLOADING",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ModelEntry {
    /// The highest version that is ready.
    pub(crate) fn latest(&self) -> Option<&Arc<ModelVersion>> {
        self.versions.values().rev().find_map(|slot| slot.model.as_ref())
    }

    /// Every version that is ready, ascending.
    pub(crate) fn ready(&self) -> impl Iterator<Item = &Arc<ModelVersion>> {
        self.versions.values().filter_map(|slot| slot.model.as_ref())
    }

    /// Whether a version is ready.
    pub(crate) fn serves(&self) -> bool {
        self.ready().next().is_some()
    }

    /// Whether the server may call itself ready on behalf of this model: there is a version, and none is in
    /// trouble. A version that was unloaded is not.
    pub(crate) fn is_settled(&self) -> bool {
        !self.versions.is_empty()
            && self.versions.values().all(|slot| slot.state == State::Ready || slot.reason == UNLOADED)
    }

    /// Marks `versions` as loading, except those that serve: they go on until their successors are ready.
    pub(crate) fn begin_load(&mut self, versions: &BTreeSet<u64>) {
        self.retired = false;
        for version in versions {
            let slot = self.versions.entry(*version).or_insert_with(Slot::unknown);
            if slot.state != State::Ready {
                *slot = Slot { state: State::Loading, ..Slot::unknown() };
            }
        }
    }

    /// Takes over the outcome of a load: all of it, or, if any version failed, nothing. What serves keeps
    /// serving in that case.
    ///
    /// # Errors
    /// `version 1 is at UNAVAILABLE state: Internal: …;` for every version that failed.
    pub(crate) fn finish_load(&mut self, outcomes: &[Outcome]) -> Result<()> {
        let mut failures = String::new();
        for Outcome { version, in_place, result } in outcomes {
            if let Err(e) = result {
                let state = if *in_place { State::Ready } else { State::Unavailable };
                let reason = e.with_code();
                write!(failures, "version {version} is at {state} state: {reason};")
                    .expect("a String takes all");
            }
        }
        if failures.is_empty() {
            self.replace(outcomes);
            return Ok(());
        }
        for Outcome { version, result, .. } in outcomes {
            let slot = self.versions.entry(*version).or_insert_with(Slot::unknown);
            if slot.state != State::Ready {
                *slot = match result {
                    Ok(model) => Slot::unloading(model),
                    Err(e) => Slot { state: State::Unavailable, reason: e.with_code(), ..Slot::unknown() },
                };
            }
        }
        Err(Error::invalid_arg(failures))
    }

    /// Takes every ready version out of service.
    pub(crate) fn unload(&mut self) {
        self.retired = true;
        for slot in self.versions.values_mut() {
            slot.unload();
        }
    }

    /// Drops every version that failed to load.
    pub(crate) fn forget_failures(&mut self) {
        self.versions.retain(|_, slot| slot.state != State::Unavailable || slot.reason == UNLOADED);
    }

    /// The object `serial` of `version` is gone.
    pub(crate) fn departed(&mut self, version: u64, serial: u64) {
        if let Some(slot) = self.versions.get_mut(&version)
            && slot.state == State::Unloading
            && slot.serial == serial
        {
            slot.state = State::Unavailable;
            UNLOADED.clone_into(&mut slot.reason);
        }
    }

    fn replace(&mut self, outcomes: &[Outcome]) {
        let models: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok()).collect();
        let wanted: BTreeSet<u64> = models.iter().map(|model| model.version).collect();
        // A version that failed earlier and that nobody wants any more must not keep the server unready.
        self.forget_failures();
        for (version, slot) in &mut self.versions {
            if !wanted.contains(version) {
                slot.unload();
            }
        }
        for model in models {
            if let Some(slot) = self.versions.get(&model.version).filter(|slot| slot.serial != model.serial) {
                slot.model.iter().for_each(|before| before.scheduler().retire());
            }
            let slot = Slot {
                state: State::Ready,
                reason: String::new(),
                serial: model.serial,
                model: Some(model.clone()),
            };
            self.versions.insert(model.version, slot);
        }
    }
}

impl Slot {
    fn unknown() -> Self {
        Self { state: State::Unknown, reason: String::new(), model: None, serial: 0 }
    }

    fn unloading(model: &ModelVersion) -> Self {
        Self { state: State::Unloading, serial: model.serial, ..Self::unknown() }
    }

    fn unload(&mut self) {
        if let Some(model) = self.model.take() {
            // Nobody finds it any more, so that the company its requests wait for would never come.
            model.scheduler().retire();
            *self = Self::unloading(&model);
        }
    }
}
