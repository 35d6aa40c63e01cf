//! Ensembles of identity models: what runs when, what goes wrong, and that every request ends.

use std::collections::HashMap;
use std::sync::mpsc::TryRecvError;
use std::thread;

use nereid_core::config::{Ensemble, EnsembleStep, InputConfig, Mapping, OutputConfig};
use nereid_scheduler::statistics::Counts;
use nereid_scheduler::{ComposingModel, ComposingModels, Statistics};

use super::*;

/// A model of the fake repository.
pub(super) struct Part {
    config: Arc<ModelConfig>,
    scheduler: Scheduler,
}

impl ComposingModel for Part {
    fn config(&self) -> &Arc<ModelConfig> {
        &self.config
    }

    fn version(&self) -> u64 {
        1
    }

    fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }
}

/// Models by name; what is taken out is not found any more.
#[derive(Default)]
pub(super) struct Parts(Mutex<HashMap<String, Arc<Part>>>);

impl ComposingModels for Parts {
    fn find(&self, step: &EnsembleStep) -> Result<Arc<dyn ComposingModel>> {
        match self.0.lock().unwrap().get(&*step.model) {
            Some(part) => Ok(part.clone()),
            None => {
                Err(Error::not_found(format!("Request for unknown model: '{}' is not found", step.model)))
            }
        }
    }
}

impl Parts {
    pub(super) fn add(&self, config: ModelConfig, instances: Vec<Box<dyn Instance>>) {
        let name = config.name.clone();
        let config = Arc::new(config);
        let options = options(config.clone(), instances);
        let part = Part { config, scheduler: Scheduler::start(options).unwrap() };
        self.0.lock().unwrap().insert(name, Arc::new(part));
    }

    /// An identity that reports to the gate and waits there.
    fn gated(&self, name: &str, count: usize) -> Gate {
        let (gate, instances) = gated(count);
        self.add(part(name, 8), instances);
        gate
    }

    pub(super) fn free(&self, names: &[&str]) {
        for name in names {
            self.add(part(name, 8), vec![Box::new(TestInstance::identity())]);
        }
    }

    pub(super) fn remove(&self, name: &str) {
        self.0.lock().unwrap().remove(name);
    }

    /// Changes the scheduler of a model that nobody uses yet.
    pub(super) fn change(&self, name: &str, change: impl FnOnce(Scheduler) -> Scheduler) {
        let mut parts = self.0.lock().unwrap();
        let Part { config, scheduler } = Arc::into_inner(parts.remove(name).unwrap()).unwrap();
        parts.insert(name.to_owned(), Arc::new(Part { config, scheduler: change(scheduler) }));
    }

    fn part(&self, name: &str) -> Arc<Part> {
        self.0.lock().unwrap()[name].clone()
    }

    pub(super) fn counts(&self, name: &str) -> Counts {
        self.part(name).scheduler.statistics().snapshot()
    }
}

pub(super) fn part(name: &str, max_batch_size: u32) -> ModelConfig {
    let scheduling = Scheduling::DynamicBatching(DynamicBatching {
        preferred_batch_sizes: vec![max_batch_size],
        ..DynamicBatching::default()
    });
    ModelConfig { name: name.into(), scheduling, ..identity_config(max_batch_size) }
}

type Steps<'a> = &'a [(&'a str, &'a str, &'a str)];

/// Steps are (model, its input's tensor, its output's tensor).
fn ensemble(inputs: &[&str], outputs: &[&str], steps: Steps<'_>) -> (ModelConfig, Ensemble) {
    let base = identity_config(8);
    let input = |name: &&str| InputConfig { name: (*name).into(), ..base.inputs[0].clone() };
    let output = |name: &&str| OutputConfig { name: (*name).into(), ..base.outputs[0].clone() };
    let step = |(model, input, output): &(&str, &str, &str)| EnsembleStep {
        model: (*model).into(),
        namespace: "".into(),
        version: None,
        inputs: vec![Mapping { model: "INPUT0".into(), ensemble: (*input).into() }],
        outputs: vec![Mapping { model: "OUTPUT0".into(), ensemble: (*output).into() }],
    };
    let ensemble = Ensemble { steps: steps.iter().map(step).collect(), max_inflight_requests: 0 };
    let config = ModelConfig {
        name: "e".into(),
        inputs: inputs.iter().map(input).collect(),
        outputs: outputs.iter().map(output).collect(),
        ..base
    };
    (config, ensemble)
}

pub(super) struct Fixture {
    pub(super) config: Arc<ModelConfig>,
    pub(super) parts: Arc<Parts>,
    pub(super) scheduler: Scheduler,
    pub(super) answers: Answers,
}

impl Fixture {
    pub(super) fn new(parts: Arc<Parts>, (config, ensemble): (ModelConfig, Ensemble)) -> Self {
        let config = Arc::new(config);
        let statistics = Arc::<Statistics>::default();
        let scheduler = Scheduler::of_ensemble(config.clone(), ensemble, parts.clone(), statistics);
        Self { config, parts, scheduler, answers: Answers::new() }
    }

    /// A chain of free models.
    pub(super) fn chain(names: &[&str]) -> Self {
        let parts = Arc::<Parts>::default();
        parts.free(names);
        let (config, ensemble) = chain(names);
        Self::new(parts, (config, ensemble))
    }

    pub(super) fn request(&self, value: f32, outputs: &[&str]) -> ValidRequest {
        let input = |input: &InputConfig| InputTensor {
            name: input.name.to_string(),
            datatype: DataType::Fp32,
            shape: Shape::from_slice(&[1, 1]),
            data: value.to_le_bytes().to_vec().into(),
        };
        let request = InferRequest {
            id: format!("{value}"),
            inputs: self.config.inputs.iter().map(input).collect(),
            outputs: outputs.iter().map(|name| (*name).to_owned()).collect(),
            ..InferRequest::default()
        };
        ValidRequest::new(request, &self.config).unwrap()
    }

    fn send(&self, value: f32) -> Ticket {
        enqueue(&self.scheduler, self.request(value, &[]), self.answers.responder(value))
    }

    fn counts(&self) -> Counts {
        self.scheduler.statistics().snapshot()
    }

    /// Whether nothing is left behind.
    pub(super) fn ends(self) {
        self.scheduler.join();
        assert!(self.answers.ended());
    }
}

/// `x → names[0] → t0 → names[1] → … → y`.
pub(super) fn chain(names: &[&str]) -> (ModelConfig, Ensemble) {
    let tensor = |index: usize| match index {
        0 => "x".to_owned(),
        index if index == names.len() => "y".to_owned(),
        index => format!("t{index}"),
    };
    let tensors: Vec<String> = (0..=names.len()).map(tensor).collect();
    let steps: Vec<_> =
        names.iter().enumerate().map(|(i, name)| (*name, &*tensors[i], &*tensors[i + 1])).collect();
    ensemble(&["x"], &["y"], &steps)
}

const FORK: Steps<'static> = &[("a", "x", "m"), ("b", "m", "y"), ("c", "m", "z")];

#[test]
fn a_request_runs_through_all_steps() {
    let fixture = Fixture::chain(&["a", "b", "c"]);
    for value in [1.0, 2.0, 3.0] {
        fixture.send(value);
        assert_eq!(fixture.answers.next_ok(), value);
    }
    for name in ["a", "b", "c"] {
        assert_eq!(fixture.parts.counts(name).success.count, 3);
    }
    let counts = fixture.counts();
    assert_eq!((counts.success.count, counts.inference_count, counts.execution_count), (3, 3, 3));
    let computed: u64 = ["a", "b", "c"].map(|name| fixture.parts.counts(name).compute_infer.ns).iter().sum();
    assert_eq!(counts.compute_infer.ns, computed, "the sum over the steps");
    assert_eq!(counts.batches[&1].compute_infer.count, 3);
    fixture.ends();
}

#[test]
fn the_answer_is_in_the_ensembles_words() {
    let fixture = Fixture::chain(&["a", "b"]);
    fixture.send(1.0);
    let (_, result) = fixture.answers.next();
    let InferResponse { outputs, parameters, timing, .. } = result.unwrap();
    assert_eq!((&*outputs[0].name, outputs[0].shape.as_slice()), ("y", &[1, 1][..]));
    let names: Vec<_> = parameters.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["sequence_id", "sequence_start", "sequence_end"]);
    let counts = fixture.counts();
    assert_eq!(timing.compute_done.ns_since(timing.inputs_ready), counts.compute_infer.ns);
    fixture.ends();
}

#[test]
fn branches_run_at_the_same_time_and_meet_again() {
    let parts = Arc::<Parts>::default();
    parts.free(&["a"]);
    let (b, c) = (parts.gated("b", 1), parts.gated("c", 1));
    let fixture = Fixture::new(parts, ensemble(&["x"], &["y", "z"], FORK));
    fixture.send(4.0);
    assert_eq!((b.entered.recv_timeout(LONG), c.entered.recv_timeout(LONG)), (Ok(1), Ok(1)), "both");
    c.leave.send(()).unwrap();
    while fixture.parts.counts("c").success.count == 0 {
        thread::yield_now();
    }
    assert!(matches!(fixture.answers.receiver.try_recv(), Err(TryRecvError::Empty)), "one branch is missing");
    b.leave.send(()).unwrap();
    let (_, result) = fixture.answers.next();
    let names: Vec<_> = result.unwrap().outputs.iter().map(|output| output.name.to_string()).collect();
    assert_eq!(names, ["y", "z"]);
    fixture.ends();
}

#[test]
fn what_nobody_asked_for_does_not_run() {
    let parts = Arc::<Parts>::default();
    parts.free(&["a", "b", "c"]);
    let fixture = Fixture::new(parts, ensemble(&["x"], &["y", "z"], FORK));
    let request = fixture.request(4.0, &["z"]);
    enqueue(&fixture.scheduler, request, fixture.answers.responder(4.0));
    let (_, result) = fixture.answers.next();
    assert_eq!(result.unwrap().outputs.len(), 1);
    let run = ["a", "b", "c"].map(|name| fixture.parts.counts(name).success.count);
    assert_eq!(run, [1, 0, 1]);
    fixture.ends();
}

#[test]
fn a_failure_waits_for_the_other_branch_and_starts_nothing_more() {
    let parts = Arc::<Parts>::default();
    parts.free(&["a", "d"]);
    let b = parts.gated("b", 1);
    let failing = TestInstance::with_hook(|_| Err(Error::internal("no such luck")));
    parts.add(part("c", 8), vec![Box::new(failing)]);
    let steps = &[("a", "x", "m"), ("b", "m", "n"), ("c", "m", "z"), ("d", "n", "y")];
    let fixture = Fixture::new(parts, ensemble(&["x"], &["y", "z"], steps));
    fixture.send(1.0);
    b.entered.recv_timeout(LONG).unwrap();
    while fixture.parts.counts("c").fail.count == 0 {
        thread::yield_now();
    }
    b.leave.send(()).unwrap();
    let (_, code, text) = fixture.answers.next_error();
    assert_eq!((code, &*text), (ErrorCode::Internal, "in ensemble 'e', no such luck"));
    assert_eq!(fixture.parts.counts("d").success.count, 0, "its input came after the failure");
    let counts = fixture.counts();
    assert_eq!((counts.success.count, counts.fail.count, counts.failures), (0, 1, [0, 0, 0, 1]));
    fixture.ends();
}

#[test]
fn one_request_fails_alone() {
    let parts = Arc::<Parts>::default();
    parts.free(&["a"]);
    let picky = TestInstance::with_hook(|batch| {
        let bad = batch.requests().iter().any(|r| r.inputs()[0].data[..] == 13_f32.to_le_bytes());
        if bad { Err(Error::internal("superstition")) } else { Ok(()) }
    });
    parts.add(ModelConfig { name: "b".into(), ..identity_config(8) }, vec![Box::new(picky)]);
    let fixture = Fixture::new(parts, chain(&["a", "b"]));
    let values = [12.0, 13.0, 14.0];
    values.iter().for_each(|value| drop(fixture.send(*value)));
    let mut failed = Vec::new();
    for _ in values {
        let (tag, result) = fixture.answers.next();
        failed.extend(result.is_err().then_some(tag));
    }
    assert_eq!(failed, [13.0]);
    fixture.ends();
}

#[test]
fn models_are_looked_up_for_each_request_and_held_until_its_end() {
    let parts = Arc::<Parts>::default();
    parts.free(&["b"]);
    let a = parts.gated("a", 1);
    let fixture = Fixture::new(parts, chain(&["a", "b"]));
    fixture.send(1.0);
    a.entered.recv_timeout(LONG).unwrap();
    let gone = Arc::downgrade(&fixture.parts.0.lock().unwrap().remove("b").unwrap());
    fixture.send(2.0);
    let (tag, code, text) = fixture.answers.next_error();
    assert_eq!((tag, code), (2.0, ErrorCode::NotFound));
    assert_eq!(text, "in ensemble 'e', Request for unknown model: 'b' is not found");
    a.leave.send(()).unwrap();
    assert_eq!(fixture.answers.next_ok(), 1.0, "the first one has its model still");
    while gone.strong_count() > 0 {
        thread::yield_now();
    }
    fixture.parts.free(&["b"]);
    a.leave.send(()).unwrap();
    fixture.send(3.0);
    assert_eq!(fixture.answers.next_ok(), 3.0, "loaded again");
    fixture.ends();
}

#[test]
fn a_refusal_of_a_step_is_the_answer() {
    let parts = Arc::<Parts>::default();
    let (gate, instances) = gated(1);
    let limited = DynamicBatching {
        preferred_batch_sizes: vec![1],
        default_queue_policy: QueuePolicy { max_queue_size: 1, ..QueuePolicy::default() },
        ..DynamicBatching::default()
    };
    let scheduling = Scheduling::DynamicBatching(limited);
    parts.add(ModelConfig { scheduling, ..part("a", 1) }, instances);
    let fixture = Fixture::new(parts, chain(&["a"]));
    fixture.send(1.0);
    gate.entered.recv_timeout(LONG).unwrap();
    fixture.send(2.0);
    fixture.send(3.0);
    let (tag, result) = fixture.answers.next();
    let error = result.unwrap_err();
    assert_eq!((tag, error.code(), error.was_accepted()), (3.0, ErrorCode::Unavailable, true));
    assert_eq!(error.message(), "in ensemble 'e', [request id: 3] Exceeds maximum queue size");
    gate.leave.send(()).unwrap();
    gate.leave.send(()).unwrap();
    assert_eq!([fixture.answers.next_ok(), fixture.answers.next_ok()], [1.0, 2.0]);
    fixture.ends();
}

#[test]
fn a_request_that_does_not_fit_a_step_is_refused_in_its_words() {
    let parts = Arc::<Parts>::default();
    parts.free(&["a"]);
    let mut config = part("b", 8);
    config.inputs[0].dims = vec![2];
    parts.add(config, vec![Box::new(TestInstance::identity())]);
    let fixture = Fixture::new(parts, chain(&["a", "b"]));
    fixture.send(1.0);
    let (_, code, text) = fixture.answers.next_error();
    assert_eq!(code, ErrorCode::InvalidArg);
    let start =
        "in ensemble 'e', [request id: 1] unexpected shape for input 'INPUT0' for model 'b'. Expected [-1,2]";
    assert!(text.starts_with(start), "{text}");
    fixture.ends();
}

#[test]
fn cancelling_stops_what_runs_and_starts_no_more() {
    let parts = Arc::<Parts>::default();
    parts.free(&["b"]);
    let a = parts.gated("a", 1);
    let fixture = Fixture::new(parts, chain(&["a", "b"]));
    let running = fixture.send(1.0);
    a.entered.recv_timeout(LONG).unwrap();
    let waiting = fixture.send(2.0);
    for _ in 0..2 {
        fixture.scheduler.cancel(waiting.clone());
    }
    let (tag, code, text) = fixture.answers.next_error();
    assert_eq!((tag, code, &*text), (2.0, ErrorCode::Cancelled, "in ensemble 'e', "));
    fixture.scheduler.cancel(running);
    assert!(
        matches!(fixture.answers.receiver.try_recv(), Err(TryRecvError::Empty)),
        "not before its step ends"
    );
    a.leave.send(()).unwrap();
    let (tag, code, _) = fixture.answers.next_error();
    assert_eq!((tag, code), (1.0, ErrorCode::Cancelled));
    assert_eq!(fixture.parts.counts("b").success.count, 0);
    assert_eq!(fixture.counts().failures, [0, 2, 0, 0]);
    fixture.ends();
}

#[test]
fn a_ticket_of_the_past_cancels_nothing() {
    let fixture = Fixture::chain(&["a"]);
    let ticket = fixture.send(1.0);
    assert_eq!(fixture.answers.next_ok(), 1.0);
    fixture.scheduler.cancel(ticket);
    assert_eq!(fixture.counts().fail.count, 0);
    fixture.ends();
}

#[test]
fn no_more_than_the_limit_are_in_a_step() {
    let parts = Arc::<Parts>::default();
    let a = parts.gated("a", 1);
    parts.free(&["b"]);
    let (config, ensemble) = chain(&["a", "b"]);
    let fixture = Fixture::new(parts, (config, Ensemble { max_inflight_requests: 2, ..ensemble }));
    fixture.send(1.0);
    assert_eq!(a.entered.recv_timeout(LONG), Ok(1));
    let waiting: Vec<_> = [2.0, 3.0, 4.0, 5.0].map(|value| fixture.send(value)).into();
    assert_eq!(fixture.parts.part("a").scheduler.pending(), 1, "one runs, one waits in its queue");
    fixture.scheduler.cancel(waiting[1].clone());
    let (tag, code, _) = fixture.answers.next_error();
    assert_eq!((tag, code), (3.0, ErrorCode::Cancelled), "while it waits for its turn");
    for value in [1.0, 2.0, 4.0, 5.0] {
        a.leave.send(()).unwrap();
        assert_eq!(fixture.answers.next_ok(), value);
    }
    fixture.ends();
}

#[test]
fn what_fails_gives_its_turn_to_the_next() {
    let parts = Arc::<Parts>::default();
    let picky = TestInstance::with_hook(|_| Err(Error::internal("never")));
    parts.add(part("a", 8), vec![Box::new(picky)]);
    let (config, ensemble) = chain(&["a"]);
    let fixture = Fixture::new(parts, (config, Ensemble { max_inflight_requests: 1, ..ensemble }));
    let count = 500;
    (0..count).for_each(|value| drop(fixture.send(value as f32)));
    for _ in 0..count {
        let (_, _, text) = fixture.answers.next_error();
        assert_eq!(text, "in ensemble 'e', never");
    }
    // Refused by the model, with the turns of others waiting for that.
    fixture.parts.part("a").scheduler.stop();
    (0..count).for_each(|value| drop(fixture.send(value as f32)));
    for _ in 0..count {
        assert!(fixture.answers.next_error().2.ends_with("has stopped accepting new inference requests"));
    }
    fixture.ends();
}

#[test]
fn stopping_finishes_what_was_accepted_and_refuses_the_rest() {
    let parts = Arc::<Parts>::default();
    let a = parts.gated("a", 1);
    parts.free(&["b"]);
    let fixture = Fixture::new(parts, chain(&["a", "b"]));
    fixture.send(1.0);
    a.entered.recv_timeout(LONG).unwrap();
    fixture.scheduler.finish(Duration::ZERO);
    let refused = fixture.scheduler.enqueue(fixture.request(2.0, &[]), fixture.answers.responder(2.0));
    let error = refused.unwrap_err();
    assert_eq!(
        error.message(),
        "[request id: 2] Server is stopping, scheduler for model has stopped accepting new inference requests"
    );
    assert!(!error.was_accepted());
    thread::scope(|scope| {
        let finished = scope.spawn(|| fixture.scheduler.finish(LONG));
        a.leave.send(()).unwrap();
        finished.join().unwrap();
        assert_eq!(fixture.answers.next_ok(), 1.0);
    });
    assert_eq!(fixture.counts().success.count, 1, "the refusal is counted nowhere");
    assert_eq!(fixture.counts().fail.count, 0);
    fixture.ends();
}

#[test]
fn ensembles_of_ensembles() {
    let inner = Fixture::chain(&["a", "b"]);
    let outer_parts = Arc::<Parts>::default();
    outer_parts.free(&["c"]);
    let Fixture { config, parts, scheduler, .. } = inner;
    outer_parts.0.lock().unwrap().insert("inner".into(), Arc::new(Part { config, scheduler }));
    let (config, mut ensemble) = chain(&["inner", "c"]);
    ensemble.steps[0].inputs[0].model = "x".into();
    ensemble.steps[0].outputs[0].model = "y".into();
    let fixture = Fixture::new(outer_parts, (config, ensemble));
    fixture.send(1.0);
    assert_eq!(fixture.answers.next_ok(), 1.0);
    parts.0.lock().unwrap().remove("b");
    fixture.send(2.0);
    let (_, _, text) = fixture.answers.next_error();
    assert_eq!(text, "in ensemble 'e', in ensemble 'e', Request for unknown model: 'b' is not found");
    fixture.ends();
}

#[test]
fn a_long_chain_takes_no_stack() {
    let fixture = Fixture::new(Arc::default(), chain(&vec!["a"; 20_000]));
    fixture.parts.free(&["a"]);
    fixture.send(1.0);
    assert_eq!(fixture.answers.next_ok(), 1.0);
    assert_eq!(fixture.parts.counts("a").success.count, 20_000);
    fixture.ends();
}

#[test]
fn the_steps_of_a_batch_run_as_a_batch_on_one_thread() {
    let parts = Arc::<Parts>::default();
    let a = parts.gated("a", 1);
    let (seen, saw) = mpsc::channel();
    let witness = TestInstance::with_hook(move |batch| {
        let name = thread::current().name().map(str::to_owned);
        seen.send((batch.size(), thread::current().id(), name)).map_err(|_| Error::internal("gone"))
    });
    parts.add(part("b", 8), vec![Box::new(witness)]);
    let fixture = Fixture::new(parts, chain(&["a", "b"]));
    let alone = || {
        fixture.send(0.0);
        a.leave.send(()).unwrap();
        assert_eq!((a.entered.recv_timeout(LONG), fixture.answers.next_ok()), (Ok(1), 0.0));
        saw.recv_timeout(LONG).unwrap().1
    };
    // A model is taken for slow until it has shown otherwise, which takes longer where threads are disturbed.
    let own_thread = alone();
    assert!((0..100_000).any(|_| alone() != own_thread), "an identity takes microseconds");
    for _ in 0..50 {
        alone(); // so that a hiccup does not make it slow again
    }
    fixture.send(1.0);
    assert_eq!(a.entered.recv_timeout(LONG), Ok(1));
    for value in [2.0, 3.0, 4.0] {
        fixture.send(value);
    }
    a.leave.send(()).unwrap();
    assert_eq!((a.entered.recv_timeout(LONG), saw.recv_timeout(LONG).unwrap().0), (Ok(3), 1));
    a.leave.send(()).unwrap();
    let (size, thread, _) = saw.recv_timeout(LONG).unwrap();
    assert_eq!(size, 3);
    assert_ne!(thread, own_thread, "the thread that answered the first step");
    for value in [1.0, 2.0, 3.0, 4.0] {
        assert_eq!(fixture.answers.next_ok(), value);
    }
    fixture.ends();
}
