//! Loading and unloading on request, and the end. What a load does is in `update`.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use nereid_core::{Error, Result, Timestamp};

use crate::plan::Plan;
use crate::repository::Repository;
use crate::update::{Failure, Wanted};
use crate::{ControlMode, LoadParameters, ModelId, ModelVersion, disk, poll};

impl Repository {
    /// Loads a model, or loads it again; blocks until it serves. Does nothing if it serves already, comes without
    /// parameters, and nothing in its folder has changed since it was loaded: a config that was given then stays
    /// in force. With namespacing, this goes for the model of that name in every repository.
    ///
    /// # Errors
    /// Unavailable outside of explicit mode and after [`Self::shutdown`]; InvalidArg for a bad name or a failed
    /// load, with every version's reason; Internal if the model is not there, its config or a parameter is broken
    /// (the log says which).
    pub fn load_model(&self, name: &str, parameters: &LoadParameters) -> Result<()> {
        self.check_explicit()?;
        poll::check_name(name)?;
        let ends = self.in_turn(name, |this, may_change| {
            let models = match parameters.files.is_empty() {
                true => disk::named(&this.roots, name),
                false => [ModelId::bare(name)].into(), // what comes along belongs to no repository
            };
            let wanted: Vec<_> = models.iter().map(|model| Wanted { model, parameters }).collect();
            let plan = this.plan(&wanted);
            let names = plan.names(&this.dependencies.lock());
            may_change(names).then(|| this.execute(plan))
        })?;
        let (mut polled, mut available, mut failures) = (true, true, String::new());
        for (model, end) in ends {
            match end {
                Ok(()) => available &= self.is_valid(&model),
                Err(Failure::Poll(_)) => polled = false,
                Err(Failure::Load(_)) if *model.name != *name => {}
                Err(Failure::Load(e)) => {
                    writeln!(failures, "load failed for model '{model}': {}", e.message())
                        .expect("a String takes all")
                }
            }
        }
        if !failures.is_empty() {
            return Err(Error::invalid_arg(failures));
        }
        if !polled {
            let text = format!("failed to load '{name}', failed to poll from model repository");
            return Err(Error::internal(text));
        }
        if !available {
            return Err(Error::internal(format!("failed to load '{name}', no version is available")));
        }
        Ok(())
    }

    /// Takes a model out of service, or with namespacing all of that name, and with `dependents` those that were
    /// loaded for the sake of this ensemble alone. Ensembles that are made of it go out of service, too, and come back
    /// when it does. Returns before its requests in flight are finished. Unloading a model that is not there
    /// succeeds.
    ///
    /// # Errors
    /// Unavailable outside of explicit mode and after [`Self::shutdown`].
    pub fn unload_model(&self, name: &str, dependents: bool) -> Result<()> {
        self.check_explicit()?;
        self.in_turn(name, |this, may_change| {
            let known = this.named(name);
            let mut after = this.dependencies.lock().clone();
            let gone = after.remove(&known, dependents);
            let names: BTreeSet<Arc<str>> = gone.iter().map(|model| model.name.clone()).collect();
            let affected = after.affected(names.iter().cloned()).into_iter().map(|model| model.name);
            may_change(names.iter().cloned().chain(affected).collect()).then(|| {
                this.awaited.lock().retain(|model| *model.name != *name);
                for model in &gone {
                    this.forget(model);
                    this.table.unload(model);
                }
                this.execute(Plan::default().and_without(names));
            })
        })
    }

    /// Does `change` while no other change concerns the same models. `change` asks whether it may change models of
    /// these names, and if not, is done again, from the start, with the turn of all of them.
    fn in_turn<T>(
        &self,
        name: &str,
        change: impl Fn(&Self, &dyn Fn(BTreeSet<Arc<str>>) -> bool) -> Option<T>,
    ) -> Result<T> {
        let mut names = BTreeSet::from([Arc::from(name)]);
        loop {
            let turn = self.turns.take(&names.iter().map(|name| &**name).collect::<Vec<_>>());
            self.table.check_open()?;
            let more = RefCell::new(BTreeSet::new());
            let may_change = |concerned: BTreeSet<Arc<str>>| {
                more.borrow_mut().extend(concerned.difference(&names).cloned());
                more.borrow().is_empty()
            };
            if let Some(done) = change(self, &may_change) {
                return Ok(done);
            }
            drop(turn);
            names.append(&mut more.into_inner());
        }
    }

    /// Whether `model` fits what it is made of.
    pub(crate) fn is_valid(&self, model: &ModelId) -> bool {
        self.dependencies.lock().get(model).is_none_or(|node| node.invalid.is_none())
    }

    /// All models of this name that were ever loaded or tried.
    fn named(&self, name: &str) -> BTreeSet<ModelId> {
        let models = self.table.models();
        let served = models.get(name).into_iter().flat_map(|namesakes| namesakes.all());
        let served = served.map(|namesake| namesake.id(name));
        served.chain(self.dependencies.lock().named(name)).chain(self.failed.named(name)).collect()
    }

    /// Forgets what `model` was made from and what it is made of.
    pub(crate) fn forget(&self, model: &ModelId) {
        self.sources.lock().remove(model);
        self.ensembles.lock().remove(model);
        self.failed.remove(model);
        self.dependencies.lock().remove(&BTreeSet::from([model.clone()]), false);
    }

    /// The server is about to end: no request waits for others any more.
    pub fn stop_waiting(&self) {
        for model in self.loaded() {
            model.scheduler().stop_waiting();
        }
    }

    /// Takes every model out of service and waits, at most `timeout`, until their requests in flight are
    /// finished and they are gone. Nothing begins to serve any more, loads in flight
    /// included, and warm-ups are stopped. Deletes the files that
    /// came with load requests. Returns how many versions are left.
    pub fn shutdown(&self, timeout: Duration) -> usize {
        self.table.close();
        self.stop_polling.stop();
        self.stop_warm_ups();
        // Not in turn: a load that hangs must not keep the server from ending.
        let start = Timestamp::now();
        let rest = || timeout.saturating_sub(Timestamp::now().since(start));
        for model in self.ensembles_first() {
            model.scheduler().finish(rest());
        }
        let known: Vec<ModelId> = self
            .table
            .models()
            .iter()
            .flat_map(|(name, namesakes)| {
                namesakes.all().iter().map(|namesake| namesake.id(name)).collect::<Vec<_>>()
            })
            .collect();
        for model in &known {
            self.sources.lock().remove(model);
            self.table.unload(model);
        }
        self.ensembles.lock().clear();
        let left = self.table.wait_until_empty(rest());
        self.scratch.close();
        left
    }

    /// Tells instances that are being warmed up to stop, and lets no warm-up begin; [`Self::shutdown`] does so itself.
    pub fn stop_warm_ups(&self) {
        self.loader.warm_ups.stop();
    }

    /// Every version that serves, ensembles before what they are made of.
    fn ensembles_first(&self) -> Vec<Arc<ModelVersion>> {
        let mut loaded = self.loaded();
        let waves = self.dependencies.lock().waves(loaded.iter().map(|model| model.id.clone()).collect());
        loaded.sort_by_key(|model| Reverse(waves.iter().position(|wave| wave.contains(&model.id))));
        loaded
    }

    fn check_explicit(&self) -> Result<()> {
        match self.options.control {
            ControlMode::Explicit => Ok(()),
            // Triton speaks of polling in mode `none` as well.
            ControlMode::None | ControlMode::Poll => {
                Err(Error::unavailable("explicit model load / unload is not allowed if polling is enabled"))
            }
        }
    }
}
