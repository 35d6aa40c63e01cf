//! What all requests to an ensemble share: its graph, where it finds its models, the limits of its steps, and how many
//! requests there are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use nereid_core::config::Ensemble;
use nereid_core::{ModelConfig, Result};
use parking_lot::{Condvar, Mutex};

use super::flow::Flow;
use super::graph::{Graph, StepIndex};
use super::hand::Hand;
use super::limit::Limit;
use super::models::{ComposingModel, ComposingModels};
use super::request::{Models, Request};
use crate::Statistics;

/// See above.
pub(crate) struct Shared {
    pub(super) config: Arc<ModelConfig>,
    pub(super) graph: Graph,
    pub(super) statistics: Arc<Statistics>,
    ensemble: Ensemble,
    composing: Arc<dyn ComposingModels>,
    /// With `max_inflight_requests`.
    limits: Option<Mutex<Limits>>,
    requests: Mutex<Requests>,
    none_left: Condvar,
}

#[derive(Default)]
struct Requests {
    accepted: usize,
    stopping: bool,
}

struct Limits {
    of_step: Vec<Limit<Arc<Request>>>,
    /// Steps whose turn has come, for the thread that starts them.
    admitted: VecDeque<(Arc<Request>, StepIndex)>,
    /// A thread does so.
    admitting: bool,
}

impl Shared {
    pub(super) fn new(
        config: Arc<ModelConfig>,
        ensemble: Ensemble,
        composing: Arc<dyn ComposingModels>,
        statistics: Arc<Statistics>,
    ) -> Self {
        let most = ensemble.max_inflight_requests;
        let limits = || {
            Mutex::new(Limits {
                of_step: ensemble.steps.iter().map(|_| Limit::new(most)).collect(),
                admitted: VecDeque::new(),
                admitting: false,
            })
        };
        Self {
            graph: Graph::new(&config, &ensemble),
            limits: (most > 0).then(limits),
            config,
            statistics,
            ensemble,
            composing,
            requests: Mutex::default(),
            none_left: Condvar::new(),
        }
    }

    /// Counts a request in, unless the ensemble has stopped.
    pub(super) fn accept(&self) -> bool {
        let mut requests = self.requests.lock();
        if !requests.stopping {
            requests.accepted += 1;
        }
        !requests.stopping
    }

    /// A request was answered.
    pub(super) fn ended(&self) {
        let mut requests = self.requests.lock();
        requests.accepted -= 1;
        if requests.stopping && requests.accepted == 0 {
            self.none_left.notify_all();
        }
    }

    pub(super) fn stop(&self) {
        self.requests.lock().stopping = true;
    }

    /// Waits until all requests are answered, for at most `timeout` if there is one. The ensemble has stopped.
    pub(super) fn wait(&self, timeout: Option<Duration>) {
        let mut requests = self.requests.lock();
        let waits = |requests: &mut Requests| requests.accepted > 0;
        match timeout {
            None => self.none_left.wait_while(&mut requests, waits),
            Some(timeout) => drop(self.none_left.wait_while_for(&mut requests, waits, timeout)),
        }
    }

    /// The models of all steps, as they are now.
    pub(super) fn models_now(&self) -> impl Iterator<Item = Result<Arc<dyn ComposingModel>>> {
        self.ensemble.steps.iter().map(|step| self.composing.find(step))
    }

    /// The models of the steps that run in `flow`.
    pub(super) fn find_models(&self, flow: &Flow) -> Result<Models> {
        let steps = self.ensemble.steps.iter().enumerate();
        steps.map(|(index, step)| flow.runs(index).then(|| self.composing.find(step)).transpose()).collect()
    }

    /// Whether it is the turn of `step` of `request`. If not, it will be handed to whoever ends another one.
    pub(super) fn enter(&self, request: &Arc<Request>, step: StepIndex) -> bool {
        let Some(limits) = &self.limits else { return true };
        limits.lock().of_step[step].enter(request.clone()).is_some()
    }

    /// A `step` whose turn it was has ended. Starts those whose turn has come with that, unless another thread does.
    pub(super) fn leave(&self, step: StepIndex, hand: &mut Hand) {
        let Some(limits) = &self.limits else { return };
        let mut limits = limits.lock();
        if let Some(next) = limits.of_step[step].leave() {
            limits.admitted.push_back((next, step));
        }
        if limits.admitting {
            return;
        }
        while let Some((request, step)) = limits.admitted.pop_front() {
            limits.admitting = true;
            parking_lot::MutexGuard::unlocked(&mut limits, || request.start_step(step, hand));
        }
        limits.admitting = false;
    }

    /// The steps of `request` whose turn has not come; it will not come any more.
    pub(super) fn give_up(&self, request: &Arc<Request>) -> Vec<StepIndex> {
        let Some(limits) = &self.limits else { return Vec::new() };
        let mut limits = limits.lock();
        let waits = |(step, limit): (usize, &mut Limit<Arc<Request>>)| {
            limit.give_up(|waiting| Arc::ptr_eq(waiting, request)).map(|_| step)
        };
        limits.of_step.iter_mut().enumerate().filter_map(waits).collect()
    }
}
