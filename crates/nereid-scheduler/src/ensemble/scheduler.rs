//! The scheduler of an ensemble as others see it: given requests, stopped. It has no threads and no instances; what happens
//! to a request is in `request`.

use std::sync::Arc;
use std::time::Duration;

use nereid_core::config::Ensemble;
use nereid_core::{Error, ModelConfig, Responder, Result, ValidRequest};

use super::models::ComposingModels;
use super::request::Request;
use super::shared::Shared;
use crate::cache::ModelIdentity;
use crate::ticket::{Place, Ticket};
use crate::{Queued, Statistics};

/// Takes the requests to one version of an ensemble.
pub(crate) struct EnsembleScheduler(Arc<Shared>);

impl EnsembleScheduler {
    pub(crate) fn new(
        config: Arc<ModelConfig>,
        ensemble: Ensemble,
        composing: Arc<dyn ComposingModels>,
        statistics: Arc<Statistics>,
    ) -> Self {
        Self(Arc::new(Shared::new(config, ensemble, composing, statistics)))
    }

    /// What tells an ensemble whose own identity is `own`, of the models that its steps have now, from others. `None` if one
    /// of them is not ready.
    pub(crate) fn identity(&self, own: ModelIdentity) -> Option<ModelIdentity> {
        own.with(self.0.models_now().map(|model| model.ok()?.scheduler().identity()))
    }

    /// See [`crate::Scheduler::enqueue`]. The lead is that of the first model.
    pub(crate) fn enqueue(&self, request: ValidRequest, responder: Responder) -> Result<Queued> {
        if !self.0.accept() {
            responder.forget();
            let text = "Server is stopping, scheduler for model has stopped accepting new inference requests";
            return Err(Error::unavailable(text).prefixed(&request.log_prefix()));
        }
        let (request, lead) = Request::start(self.0.clone(), request, responder);
        Ok(Queued { ticket: Ticket(Place::Ensemble(Arc::downgrade(&request))), lead })
    }

    /// See [`crate::Scheduler::stop`].
    pub(crate) fn stop(&self) {
        self.0.stop();
    }

    /// See [`crate::Scheduler::finish`].
    pub(crate) fn finish(&self, timeout: Duration) {
        self.0.stop();
        self.0.wait(Some(timeout));
    }

    /// See [`crate::Scheduler::join`].
    pub(crate) fn join(&self) {
        self.0.stop();
        self.0.wait(None);
    }
}
