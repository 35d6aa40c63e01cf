//! One request on its way through an ensemble: the shell around its [`Flow`]. Whoever brings it forward, the thread that
//! received it or one that answered a step, starts what has become possible.
//!
//! One thread at a time does so, and without the lock: a model that answers at once, or another thread that answers
//! another step meanwhile, only notes what has arrived. So a chain of any length takes no stack.

use std::fmt;
use std::sync::Arc;

use nereid_core::{
    Continuation, Error, ErrorCode, InferRequest, InferResponse, InferTrace, InputTensor, Respond, Responder,
    Result, Timestamp, ValidRequest,
};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::flow::{Flow, Ready, Value};
use super::graph::StepIndex;
use super::hand::Hand;
use super::models::ComposingModel;
use super::response;
use super::shapes::handed_on;
use super::shared::Shared;
use crate::statistics::{ComputeTimes, FailureReason};
use crate::{Lead, Queued, Ticket};

/// A request that was accepted.
pub(crate) struct Request {
    ensemble: Arc<Shared>,
    request: ValidRequest,
    /// By step; `None` for one that does not run. Held until the end, so that none is gone in the middle.
    models: Models,
    accepted: Timestamp,
    state: Mutex<State>,
}

pub(super) type Models = SmallVec<[Option<Arc<dyn ComposingModel>>; 4]>;

struct State {
    flow: Flow,
    /// Steps that can start.
    ready: Ready,
    /// A thread starts them.
    driven: bool,
    /// Steps that their models have accepted. One that was answered before it got here stays, and does no harm.
    running: SmallVec<[(StepIndex, Ticket); 2]>,
    /// The first that went wrong. No step starts any more.
    error: Option<Error>,
    cancelled: bool,
    spent: ComputeTimes,
    /// Until the answer is given.
    responder: Option<Responder>,
}

/// Takes the answer to one step.
struct StepResponder {
    request: Arc<Request>,
    step: StepIndex,
    /// Rows of what the step makes; 0 if its model does not batch.
    rows: u32,
    /// Of this step, if the request is traced.
    trace: Option<Arc<dyn InferTrace>>,
}

impl Request {
    /// Begins with `request`. Hands on the leads of the models that got its first steps.
    pub(super) fn start(
        ensemble: Arc<Shared>,
        request: ValidRequest,
        responder: Responder,
    ) -> (Arc<Self>, Option<Lead>) {
        let accepted = Timestamp::now();
        let mut flow = Flow::new(&ensemble.graph, |index| request.wants(index));
        let mut ready = Ready::new();
        let (models, error) = match ensemble.find_models(&flow) {
            Ok(models) => (models, None),
            Err(error) => (Models::new(), Some(error)),
        };
        if error.is_none() {
            for (index, input) in ensemble.config.inputs.iter().enumerate() {
                let value = request.input(index).map(|given| Value {
                    datatype: input.datatype,
                    shape: given.shape.clone(),
                    data: given.data.clone(),
                    rows: request.batch_size(),
                });
                flow.arrive(&ensemble.graph, ensemble.graph.inputs[index], value, &mut ready);
            }
        }
        let state = Mutex::new(State {
            flow,
            ready,
            driven: true,
            running: SmallVec::new(),
            error,
            cancelled: false,
            spent: ComputeTimes::default(),
            responder: Some(responder),
        });
        let request = Arc::new(Self { ensemble, request, models, accepted, state });
        let mut hand = Hand::default();
        request.drive(&mut hand);
        (request, hand.into_lead())
    }

    /// Nobody waits for the answer any more: stops what runs, and starts no more. It is answered when all that ran has
    /// ended.
    pub(crate) fn cancel(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.responder.is_none() || std::mem::replace(&mut state.cancelled, true) {
            return;
        }
        let running = std::mem::take(&mut state.running);
        drop(state);
        for (step, ticket) in running {
            self.model(step).scheduler().cancel(ticket);
        }
        for step in self.ensemble.give_up(self) {
            self.ended(step, Err(Error::cancelled()), &mut Hand::default());
        }
    }

    /// Starts every step that can start, and answers when there is nothing left to wait for. `driven` is set.
    fn drive(self: &Arc<Self>, hand: &mut Hand) {
        loop {
            let mut state = self.state.lock();
            if !state.ready.is_empty() {
                let step = state.ready.remove(0);
                drop(state);
                if self.ensemble.enter(self, step) {
                    self.start_step(step, hand);
                }
                continue;
            }
            state.driven = false;
            if !state.flow.is_over() {
                return;
            }
            let Some(responder) = state.responder.take() else { return };
            let (error, spent) = (state.error.take(), state.spent);
            let result = match error {
                Some(error) => Err(error),
                None => response::assemble(&self.ensemble, &self.request, &mut state.flow),
            };
            drop(state);
            return self.answer(responder, result, spent, hand);
        }
    }

    /// Hands a step, whose turn it is, to its model.
    pub(super) fn start_step(self: &Arc<Self>, step: StepIndex, hand: &mut Hand) {
        if let Err(error) = self.enqueue(step, hand) {
            self.ended(step, Err(error), hand);
            self.ensemble.leave(step, hand);
        }
    }

    fn enqueue(self: &Arc<Self>, step: StepIndex, hand: &mut Hand) -> Result<()> {
        let model = self.model(step);
        let mut request = ValidRequest::new(self.step_request(step, model.config())?, model.config())?;
        let rows = request.batch_size();
        let trace = self.request.trace().map(|trace| trace.child(model.config(), model.version(), &request));
        if let Some(trace) = trace.as_ref().filter(|_| model.config().is_ensemble()) {
            request.set_trace(trace.clone());
        }
        let responder =
            Responder::new(StepResponder { request: self.clone(), step, rows, trace: trace.clone() });
        let Queued { ticket, lead } = model.scheduler().enqueue(request, responder).inspect_err(|error| {
            if let Some(trace) = &trace {
                trace.ended(&Err(error.clone()));
            }
        })?;
        hand.add_lead(lead);
        let mut state = self.state.lock();
        if state.cancelled {
            drop(state);
            model.scheduler().cancel(ticket);
        } else {
            state.running.push((step, ticket));
        }
        Ok(())
    }

    /// What `step` asks of its model.
    ///
    /// # Errors
    /// The request has failed already.
    fn step_request(&self, step: StepIndex, config: &nereid_core::ModelConfig) -> Result<InferRequest> {
        let mut state = self.state.lock();
        if state.cancelled {
            return Err(Error::cancelled());
        }
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        let graph = &self.ensemble.graph;
        let ports = &graph.steps[step];
        let mut inputs = Vec::with_capacity(ports.inputs.len());
        state.flow.take(graph, step, |port, value| {
            let name = &ports.inputs[port].name;
            let dims = config.input_index(name).map_or(&[][..], |index| &config.inputs[index].dims);
            inputs.push(InputTensor {
                name: (**name).to_owned(),
                datatype: value.datatype,
                shape: handed_on(dims, config.batches(), value.rows, &value.shape),
                data: value.data.clone(),
            });
        });
        drop(state);
        Ok(InferRequest {
            id: self.request.id().to_owned(),
            inputs,
            outputs: ports.outputs.iter().map(|port| (*port.name).to_owned()).collect(),
            priority: self.request.priority(),
            timeout_us: self.request.timeout_us(),
            sequence: self.request.sequence().clone(),
            parameters: self.request.parameters().clone(),
            device: None,
        })
    }

    /// A step that was let start has come to `end`; goes on from there unless another thread does.
    fn ended(self: &Arc<Self>, step: StepIndex, end: Result<(InferResponse, u32)>, hand: &mut Hand) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.flow.end();
        state.running.retain(|(running, _)| *running != step);
        match end {
            Ok((response, rows)) => {
                state.spent.add(&response.timing);
                if state.error.is_none() {
                    state.arrive(&self.ensemble, step, response, rows);
                }
            }
            Err(error) => drop(state.error.get_or_insert(error)),
        }
        if !std::mem::replace(&mut state.driven, true) {
            drop(guard);
            self.drive(hand);
        }
    }

    fn answer(
        &self,
        responder: Responder,
        result: Result<InferResponse>,
        spent: ComputeTimes,
        hand: &mut Hand,
    ) {
        let (accepted, end) = (self.accepted, Timestamp::now());
        let statistics = &self.ensemble.statistics;
        let result = match result {
            Ok(response) => {
                statistics.record_composed(self.request.inference_count(), accepted, end, &spent);
                Ok(InferResponse { timing: spent.timing(accepted), ..response })
            }
            Err(error) => {
                let reason = match error.code() {
                    ErrorCode::Cancelled => FailureReason::Canceled,
                    _ => FailureReason::Other,
                };
                statistics.record_failure(reason, end.ns_since(accepted));
                Err(error.prefixed(&format!("in ensemble '{}', ", self.ensemble.config.name)))
            }
        };
        hand.add(responder.respond(result));
        self.ensemble.ended();
    }

    fn model(&self, step: StepIndex) -> &Arc<dyn ComposingModel> {
        self.models[step].as_ref().expect("looked up for every step that runs")
    }
}

impl State {
    /// Takes over what `step` has made. An output that its model did not give will never be there.
    fn arrive(&mut self, ensemble: &Shared, step: StepIndex, response: InferResponse, rows: u32) {
        let mut outputs = response.outputs;
        for port in &ensemble.graph.steps[step].outputs {
            let index = outputs.iter().position(|output| output.name == port.name);
            let value = index.map(|index| {
                let output = outputs.swap_remove(index);
                Value { datatype: output.datatype, shape: output.shape, data: output.data, rows }
            });
            self.flow.arrive(&ensemble.graph, port.tensor, value, &mut self.ready);
        }
    }
}

impl Respond for StepResponder {
    fn respond(self: Box<Self>, result: Result<InferResponse>) -> Option<Continuation> {
        let Self { request, step, rows, trace } = *self;
        if let Some(trace) = trace {
            trace.ended(&result);
        }
        let mut hand = Hand::default();
        request.ended(step, result.map(|response| (response, rows)), &mut hand);
        request.ensemble.leave(step, &mut hand);
        hand.into_continuation()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("ensemble", &self.ensemble.config.name).finish_non_exhaustive()
    }
}
