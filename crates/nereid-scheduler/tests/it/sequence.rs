//! The sequence batcher with its threads: what a client of it sees, and that everything that waits ends.

use bytes::Bytes;
use nereid_core::backend::{Execution, Instance};
use nereid_core::batch::{Batch, concat};
use nereid_core::config::{
    Direct, InputConfig, Oldest, OutputConfig, Scheduling, SequenceBatching, State, StateTensor, Strategy,
};
use nereid_core::{CorrelationId, OutputTensor, Sequence, Timestamp};

use super::rate_limiter::{limited, limiter, needing, wait_for};
use super::*;

/// Longer than any test.
const NEVER_IDLE_US: u64 = 3_600_000_000;

/// Adds its input to the state, and reports the rows of each batch.
struct Accumulator {
    enter: Sender<usize>,
    leave: Arc<Mutex<Receiver<()>>>,
}

impl Instance for Accumulator {
    fn execute(&mut self, batch: &Batch<'_>) -> Result<Execution> {
        let _ = self.enter.send(batch.size());
        self.leave.lock().unwrap().recv().map_err(|_| Error::internal("gate closed"))?;
        let (mut inputs, mut states) = (Vec::new(), Vec::new());
        let (input, state) =
            (concat(batch, 0, &mut inputs)?.unwrap(), concat(batch, 1, &mut states)?.unwrap());
        if input.data.chunks_exact(4).any(|value| value == f32::INFINITY.to_le_bytes()) {
            return Err(Error::internal("too much"));
        }
        let read = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        let sums = input.data.chunks_exact(4).zip(state.data.chunks_exact(4));
        let sums: Bytes = sums.flat_map(|(a, b)| (read(a) + read(b)).to_le_bytes()).collect();
        let output = |name: &str| OutputTensor {
            name: name.into(),
            datatype: DataType::Fp32,
            shape: input.shape.clone(),
            data: sums.clone(),
        };
        let outputs = vec![output("OUT"), output("OUTPUT0")].into();
        Ok(Execution {
            outputs,
            parameters: Vec::new(),
            inputs_ready: Timestamp::now(),
            compute_done: Timestamp::now(),
        })
    }
}

pub(super) fn accumulators(count: usize) -> (Gate, Vec<Box<dyn Instance>>) {
    let (enter, entered) = mpsc::channel();
    let (leave, wait) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let instance =
        || Box::new(Accumulator { enter: enter.clone(), leave: wait.clone() }) as Box<dyn Instance>;
    let instances = (0..count).map(|_| instance()).collect();
    (Gate { entered, leave }, instances)
}

fn config(strategy: Strategy, max_batch_size: u32, max_idle_us: u64) -> ModelConfig {
    let initial = StateTensor { shape: Shape::from_slice(&[1, 1]), data: Bytes::from_static(&[0; 4]) };
    let (dims, reshape) = (vec![1], None);
    let input = InputConfig {
        name: "IN".into(),
        datatype: DataType::Fp32,
        dims: dims.clone(),
        reshape: None,
        optional: false,
        allow_ragged_batch: false,
        form: Default::default(),
    };
    let batching = SequenceBatching {
        strategy,
        max_idle_us,
        controls: Vec::new(),
        states: vec![State { output: 1, initial }],
        iterative: false,
    };
    ModelConfig {
        injected_inputs: vec![input],
        hidden_outputs: vec![OutputConfig {
            name: "OUT".into(),
            datatype: DataType::Fp32,
            dims,
            reshape,
            form: Default::default(),
        }],
        scheduling: Scheduling::Sequence(batching),
        ..identity_config(max_batch_size)
    }
}

pub(super) fn direct(max_batch_size: u32) -> ModelConfig {
    config(Strategy::Direct(Direct::default()), max_batch_size, NEVER_IDLE_US)
}

fn oldest(max_candidate_sequences: usize, max_batch_size: u32) -> ModelConfig {
    let oldest = Oldest {
        max_candidate_sequences,
        preferred_batch_sizes: vec![max_batch_size],
        max_queue_delay_us: 0,
    };
    config(Strategy::Oldest(oldest), max_batch_size, NEVER_IDLE_US)
}

/// A request of sequence `id`: `+` begins it, `-` ends it.
pub(super) fn request(
    config: &ModelConfig,
    id: u64,
    flags: &str,
    value: f32,
    timeout_us: u64,
) -> ValidRequest {
    let input = InputTensor {
        name: "INPUT0".into(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(&[1, 1]),
        data: value.to_le_bytes().to_vec().into(),
    };
    let sequence =
        Sequence { id: CorrelationId::Number(id), start: flags.contains('+'), end: flags.contains('-') };
    let request = InferRequest { inputs: vec![input], sequence, timeout_us, ..Default::default() };
    ValidRequest::new(request, config).unwrap()
}

struct Bench {
    config: Arc<ModelConfig>,
    scheduler: Scheduler,
    answers: Answers,
    gate: Gate,
}

impl Bench {
    fn new(config: ModelConfig, instances: usize) -> Self {
        let (gate, instances) = accumulators(instances);
        let (config, scheduler) = start(config, instances);
        Self { config, scheduler, answers: Answers::new(), gate }
    }

    fn send(&self, id: u64, flags: &str, value: f32) -> Ticket {
        self.send_within(id, flags, value, 0)
    }

    fn send_within(&self, id: u64, flags: &str, value: f32, timeout_us: u64) -> Ticket {
        let request = request(&self.config, id, flags, value, timeout_us);
        self.scheduler.enqueue(request, self.answers.responder(value)).unwrap().ticket
    }

    fn refused(&self, id: u64, flags: &str) -> (ErrorCode, String) {
        let request = request(&self.config, id, flags, 0.0, 0);
        let error = self.scheduler.enqueue(request, self.answers.responder(f32::NAN)).unwrap_err();
        (error.code(), error.message().to_owned())
    }

    /// Lets the next batch run; its rows.
    fn run(&self) -> usize {
        let rows = self.gate.entered();
        self.gate.release();
        rows
    }

    /// The next answer: what was sent, and the sum.
    fn sum(&self) -> (f32, f32) {
        let (tag, result) = self.answers.next();
        let response = result.unwrap();
        assert!(response.states.is_empty() && response.outputs.len() == 1, "clients see no state");
        (tag, f32::from_le_bytes(response.outputs[0].data[..].try_into().unwrap()))
    }
}

#[test]
fn states_go_from_one_request_of_a_sequence_to_the_next() {
    for config in [direct(4), oldest(4, 4)] {
        let bench = Bench::new(config, 1);
        bench.send(1, "+", 1.0);
        assert_eq!((bench.run(), bench.sum()), (1, (1.0, 1.0)));
        bench.send(2, "+", 10.0);
        assert!(bench.run() <= 2);
        assert_eq!(bench.sum(), (10.0, 10.0));
        bench.send(1, "-", 2.0);
        assert_eq!((bench.run(), bench.sum()), (1, (2.0, 3.0)));
        let counts = bench.scheduler.statistics().snapshot();
        assert_eq!((counts.inference_count, counts.success.count, counts.execution_count), (3, 3, 3));
    }
}

#[test]
fn null_requests_count_in_batch_sizes_only_and_are_answered_to_nobody() {
    let bench = Bench::new(direct(4), 1);
    bench.send(1, "+", 1.0);
    assert_eq!(bench.gate.entered(), 1);
    bench.send(2, "+", 2.0);
    bench.send(3, "+", 3.0);
    bench.gate.release();
    assert_eq!(bench.sum(), (1.0, 1.0));
    assert_eq!(bench.run(), 3, "two requests and a null request");
    assert_eq!([bench.sum(), bench.sum()], [(2.0, 2.0), (3.0, 3.0)]);
    bench.send(3, "-", f32::INFINITY);
    assert_eq!(bench.run(), 3);
    assert_eq!(bench.answers.next_error().2, "too much");
    let counts = bench.scheduler.statistics().snapshot();
    assert_eq!((counts.inference_count, counts.execution_count, counts.fail.count), (3, 2, 1));
    assert_eq!(counts.batches.keys().copied().collect::<Vec<_>>(), [1, 3]);
    drop(bench.scheduler);
    drop(bench.gate);
    assert!(bench.answers.ended());
}

#[test]
fn sequences_keep_their_instance_and_instances_run_at_the_same_time() {
    let bench = Bench::new(direct(1), 2);
    bench.send(1, "+", 1.0);
    bench.send(2, "+", 2.0);
    assert_eq!((bench.gate.entered(), bench.gate.entered()), (1, 1), "both run");
    bench.send(2, "-", 3.0);
    bench.send(1, "-", 4.0);
    assert_eq!(bench.scheduler.pending(), 2);
    bench.gate.release();
    bench.gate.release();
    assert_eq!((bench.run(), bench.run()), (1, 1));
    let mut sums: Vec<_> = (0..4).map(|_| bench.sum()).collect();
    sums.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(sums, [(1.0, 1.0), (2.0, 2.0), (3.0, 5.0), (4.0, 5.0)]);
}

#[test]
fn an_idle_sequence_makes_room_for_the_backlog() {
    let config = config(Strategy::Direct(Direct::default()), 1, 1000);
    let bench = Bench::new(config, 1);
    bench.send(1, "+", 1.0);
    bench.send(2, "+-", 2.0);
    assert_eq!((bench.run(), bench.sum()), (1, (1.0, 1.0)));
    assert_eq!((bench.run(), bench.sum()), (1, (2.0, 2.0)), "without a request that would wake anybody");
    let (code, message) = bench.refused(1, "");
    assert_eq!(code, ErrorCode::InvalidArg);
    assert!(
        message.ends_with("must specify the START flag on the first request of the sequence"),
        "{message}"
    );
}

#[test]
fn a_sequence_in_the_backlog_times_out_while_others_run() {
    let bench = Bench::new(direct(1), 1);
    bench.send(1, "+", 1.0);
    assert_eq!(bench.gate.entered(), 1);
    bench.send(2, "+", 2.0);
    bench.send_within(2, "", 3.0, 1);
    for tag in [2.0, 3.0] {
        let expected = "timeout of the corresponding sequence has been expired";
        assert_eq!(bench.answers.next_error(), (tag, ErrorCode::Unavailable, expected.into()));
    }
    bench.gate.release();
    assert_eq!(bench.sum(), (1.0, 1.0));
    let counts = bench.scheduler.statistics().snapshot();
    assert_eq!((counts.fail.count, counts.failures), (2, [2, 0, 0, 0]));
    assert_eq!(bench.scheduler.pending(), 0);
}

#[test]
fn cancelled_requests_are_answered_at_once_and_end_their_sequence() {
    for config in [direct(1), oldest(1, 4)] {
        let bench = Bench::new(config, 1);
        let running = bench.send(1, "+", 1.0);
        assert_eq!(bench.gate.entered(), 1);
        let second = bench.send(1, "", 2.0);
        bench.send(1, "", 3.0);
        bench.send(2, "+-", 4.0);
        bench.scheduler.cancel(running.clone());
        bench.scheduler.cancel(second.clone());
        bench.scheduler.cancel(second);
        for tag in [2.0, 3.0] {
            assert_eq!(bench.answers.next_error(), (tag, ErrorCode::Cancelled, String::new()));
        }
        assert_eq!(bench.scheduler.pending(), 1);
        bench.gate.release();
        assert_eq!(bench.sum(), (1.0, 1.0), "a sequence is not stopped in the middle of a batch");
        assert_eq!((bench.run(), bench.sum()), (1, (4.0, 4.0)));
        let counts = bench.scheduler.statistics().snapshot();
        assert_eq!((counts.success.count, counts.failures), (2, [0, 2, 0, 0]));
    }
}

#[test]
fn a_failure_leaves_the_state_as_it_was_and_other_sequences_alone() {
    let bench = Bench::new(oldest(4, 1), 1);
    for (flags, value) in [("+", 1.0), ("", f32::INFINITY), ("-", 2.0)] {
        bench.send(1, flags, value);
        bench.run();
        match value.is_finite() {
            true => drop(bench.sum()),
            false => assert_eq!(bench.answers.next_error().2, "too much"),
        }
    }
    bench.send(1, "+-", 5.0);
    bench.run();
    assert_eq!(bench.sum(), (5.0, 5.0));
    assert_eq!(bench.scheduler.statistics().snapshot().failures, [0, 0, 1, 0]);
}

#[test]
fn a_scheduler_that_stops_lets_sequences_go_on() {
    let bench = Bench::new(direct(1), 1);
    bench.send(1, "+", 1.0);
    bench.scheduler.stop();
    let (code, message) = bench.refused(2, "+");
    assert_eq!(code, ErrorCode::Unavailable);
    assert_eq!(
        message,
        "Server is stopping, scheduler for model has stopped accepting new inference requests"
    );
    bench.send(1, "", 2.0);
    assert_eq!((bench.run(), bench.sum()), (1, (1.0, 1.0)));
    assert_eq!((bench.run(), bench.sum()), (1, (2.0, 3.0)));
    bench.scheduler.join(); // though the sequence is not over
    assert_eq!(bench.refused(1, "").0, ErrorCode::InvalidArg);
}

#[test]
fn everything_accepted_is_answered_before_a_scheduler_ends() {
    for config in [direct(1), oldest(1, 4)] {
        let bench = Bench::new(config, 1);
        for (id, flags, value) in [(1, "+", 1.0), (1, "", 2.0), (2, "+", 3.0), (3, "+-", 4.0)] {
            bench.send(id, flags, value);
        }
        (0..4).for_each(|_| bench.gate.release());
        bench.scheduler.join();
        assert_eq!([bench.sum().1, bench.sum().1, bench.sum().1, bench.sum().1], [1.0, 3.0, 3.0, 4.0]);
        assert!(bench.answers.ended());
    }
}

#[test]
fn instances_of_sequences_take_turns_where_the_rate_limiter_says_so() {
    let limiter = limiter();
    let (gate, instances) = accumulators(2);
    let (config, scheduler) = limited(&limiter, needing(direct(2), 1, &[1, 1]), instances);
    let bench = Bench { config, scheduler, answers: Answers::new(), gate };
    bench.send(1, "+", 1.0);
    bench.send(2, "+", 2.0);
    assert_eq!(bench.gate.entered(), 1);
    wait_for(1, &limiter);
    assert!(bench.gate.entered.try_recv().is_err(), "there is one copy of what both need");
    bench.gate.release();
    let first = bench.sum();
    assert_eq!(bench.run(), 1);
    let second = bench.sum();
    assert_eq!(first.0 + second.0, 3.0);
    let cancelled = {
        bench.send(1, "", 3.0);
        assert_eq!(bench.gate.entered(), 1);
        bench.send(2, "", 4.0)
    };
    wait_for(1, &limiter);
    bench.scheduler.cancel(cancelled);
    assert_eq!(bench.answers.next_error().1, ErrorCode::Cancelled);
    wait_for(0, &limiter);
    bench.gate.release();
    assert_eq!(bench.sum(), (3.0, 4.0));
    bench.send(1, "-", 5.0);
    bench.gate.release();
    bench.scheduler.join();
    assert_eq!(bench.sum(), (5.0, 9.0));
}

#[test]
fn batches_count_where_their_instance_is() {
    for config in [direct(4), oldest(4, 4)] {
        let (gate, instances) = accumulators(1);
        let config = Arc::new(config);
        let (options, shown) = super::statistics::on_a_gpu(options(config.clone(), instances));
        let scheduler = Scheduler::start(options).unwrap();
        let bench = Bench { config, scheduler, answers: Answers::new(), gate };
        bench.send(1, "+", 1.0);
        bench.run();
        assert_eq!(bench.sum(), (1.0, 1.0));
        bench.send(1, "", f32::INFINITY);
        bench.run();
        assert_eq!(bench.answers.next_error().2, "too much");
        assert_eq!(shown(), [(0, [0; 4]), (1, [0, 0, 1, 0])]);
    }
}
