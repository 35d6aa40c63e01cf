//! The sequencer on a paused clock. A batch is written as the values of its requests, 0 for a null request.

use bytes::Bytes;
use nereid_core::config::{
    Control, Direct, Flag, InputConfig, Oldest, OutputConfig, Scheduling, State, StateTensor,
};
use nereid_core::testing::identity_config;
use nereid_core::{Continuation, DataType, ErrorCode, InferRequest, InputTensor, Respond, Sequence, Shape};

use super::*;

const IDLE_US: u64 = 1_000;

struct Nobody;

impl Respond for Nobody {
    fn respond(self: Box<Self>, _: Result<InferResponse>) -> Option<Continuation> {
        None
    }
}

fn at(us: u64) -> Timestamp {
    Timestamp::from_ns(us * 1000)
}

fn float(value: f32) -> Bytes {
    Bytes::copy_from_slice(&value.to_le_bytes())
}

/// Identity of rows of any width, with START, END, READY, CORRID and the state `IN` → `OUT`.
fn config(strategy: Strategy, max_batch_size: u32) -> ModelConfig {
    let flag = || Flag { no: float(0.0), yes: float(1.0) };
    let tensor = |name: &str, datatype| InputConfig {
        name: name.into(),
        datatype,
        dims: vec![1],
        reshape: None,
        optional: false,
        allow_ragged_batch: false,
    };
    let flags = ["START", "END", "READY"].map(|name| tensor(name, DataType::Fp32));
    let others = [tensor("CORRID", DataType::Uint64), tensor("IN", DataType::Fp32)];
    let out = OutputConfig { name: "OUT".into(), datatype: DataType::Fp32, dims: vec![1], reshape: None };
    let initial = StateTensor { shape: Shape::from_slice(&[1, 1]), data: float(-1.0) };
    let batching = SequenceBatching {
        strategy,
        max_idle_us: IDLE_US,
        controls: vec![
            Control::Start(flag()),
            Control::End(flag()),
            Control::Ready(flag()),
            Control::CorrelationId,
        ],
        states: vec![State { output: 1, initial }],
        iterative: false,
    };
    ModelConfig {
        injected_inputs: flags.into_iter().chain(others).collect(),
        hidden_outputs: vec![out],
        scheduling: Scheduling::Sequence(batching),
        ..identity_config(max_batch_size)
    }
}

fn direct() -> Strategy {
    Strategy::Direct(Direct::default())
}

fn oldest(max_candidate_sequences: usize) -> Strategy {
    Strategy::Oldest(Oldest {
        max_candidate_sequences,
        preferred_batch_sizes: vec![4],
        max_queue_delay_us: 0,
    })
}

/// A request's place in its sequence.
#[derive(Clone, Copy, PartialEq)]
enum Flags {
    Start,
    Middle,
    End,
    Only,
}
use Flags::{End, Middle, Only, Start};

struct Bench {
    sequencer: Sequencer,
    config: Arc<ModelConfig>,
    now: u64,
}

impl Bench {
    fn new(config: ModelConfig, instances: usize) -> Self {
        Self::held(config, instances, Hold::new(0, 0, instances))
    }

    fn held(config: ModelConfig, instances: usize, hold: Hold) -> Self {
        let config = Arc::new(config);
        let batching = config.sequence().unwrap().clone();
        let sequencer = Sequencer::new(config.clone(), batching, instances, hold);
        Self { sequencer, config, now: 0 }
    }

    fn send(&mut self, id: u64, flags: Flags, value: f32) -> Ticket {
        self.try_send(id, flags, value, 1, 0).unwrap()
    }

    fn try_send(
        &mut self,
        id: u64,
        flags: Flags,
        value: f32,
        width: usize,
        timeout_us: u64,
    ) -> Result<Ticket, Error> {
        let input = InputTensor {
            name: "INPUT0".into(),
            datatype: DataType::Fp32,
            shape: Shape::from_slice(&[1, width as i64]),
            data: float(value).repeat(width).into(),
        };
        let (start, end) = (matches!(flags, Start | Only), matches!(flags, End | Only));
        let sequence = Sequence { id: CorrelationId::Number(id), start, end };
        let request = InferRequest { inputs: vec![input], sequence, timeout_us, ..Default::default() };
        let request = ValidRequest::new(request, &self.config)?;
        let entry = Entry::new(request, Responder::new(Nobody), at(self.now));
        self.sequencer.enqueue(entry).map_err(|refused| refused.error)
    }

    fn refused(&mut self, id: u64, flags: Flags) -> (ErrorCode, String) {
        let error = self.try_send(id, flags, 0.0, 1, 0).unwrap_err();
        (error.code(), error.message().to_owned())
    }

    fn take(&mut self, instance: usize) -> Option<Job> {
        match self.sequencer.next(instance, at(self.now)) {
            Next::Run(job) => Some(job),
            Next::Idle | Next::Wait { .. } => None,
        }
    }

    /// Runs the next batch of `instance`: its values. What a request gives back as its state is its value.
    fn run(&mut self, instance: usize) -> Vec<f32> {
        self.run_with(instance, Ok).unwrap_or_default()
    }

    fn run_with(
        &mut self,
        instance: usize,
        outcome: impl Fn(InferResponse) -> Result<InferResponse>,
    ) -> Option<Vec<f32>> {
        let job = self.take(instance)?;
        let values = values(&job);
        self.finish(instance, job, outcome);
        Some(values)
    }

    fn finish(
        &mut self,
        instance: usize,
        job: Job,
        outcome: impl Fn(InferResponse) -> Result<InferResponse>,
    ) {
        let answer = |entry: Entry| {
            let state = StateTensor {
                shape: Shape::from_slice(&[1, 1]),
                data: entry.request.inputs()[0].data.slice(..4),
            };
            (entry.responder, outcome(InferResponse { states: vec![state], ..Default::default() }))
        };
        let mut answers: Vec<_> = job.entries.into_iter().map(answer).collect();
        self.sequencer.complete(instance, &job.seats, &mut answers);
    }

    fn expire(&mut self, now: u64) -> usize {
        self.now = now;
        self.sequencer.expire(at(now)).len()
    }
}

/// The first element of input `index` of each row.
fn column(job: &Job, index: usize) -> Vec<f32> {
    let first = |data: &Bytes| f32::from_le_bytes(data[..4].try_into().unwrap());
    job.entries.iter().map(|entry| first(&entry.request.inputs()[index].data)).collect()
}

fn values(job: &Job) -> Vec<f32> {
    column(job, 0)
}

const NO_START: &str = "inference request for sequence 7 to model 'identity' must specify the START flag on the first \
                        request of the sequence";

#[test]
fn what_no_sequence_can_take_is_refused() {
    let mut bench = Bench::new(config(direct(), 4), 1);
    assert_eq!(bench.refused(7, Middle), (ErrorCode::InvalidArg, NO_START.into()));
    let no_id = "inference request to model 'identity' must specify a non-zero or non-empty correlation ID";
    assert_eq!(bench.refused(0, Start), (ErrorCode::InvalidArg, no_id.into()));
    bench.send(7, Only, 1.0);
    assert_eq!(bench.refused(7, Middle), (ErrorCode::InvalidArg, NO_START.into()), "the sequence has ended");
    bench.sequencer.stop();
    let (code, message) = bench.refused(8, Start);
    assert_eq!(code, ErrorCode::Unavailable);
    assert!(message.starts_with("Server is stopping, scheduler for model has stopped"), "{message}");
    let rows = nereid_core::testing::identity_request(&bench.config, 2, 1.0);
    let entry = Entry::new(rows, Responder::new(Nobody), at(0));
    let refused = bench.sequencer.enqueue(entry).unwrap_err();
    let expected = "inference request to model 'identity' must specify batch-size 1 due to requirements of sequence batcher";
    assert_eq!(refused.error.message(), expected);
    assert_eq!(bench.sequencer.pending(), 1);
}

#[test]
fn sequences_spread_over_instances_and_stay_there() {
    let mut bench = Bench::new(config(direct(), 2), 2);
    for id in 1..=4 {
        bench.send(id, Start, id as f32);
    }
    assert_eq!((bench.run(0), bench.run(1)), (vec![1.0, 3.0], vec![2.0, 4.0]));
    for id in [4, 3, 2, 1] {
        bench.send(id, Middle, 10.0 + id as f32);
    }
    assert_eq!((bench.run(0), bench.run(1)), (vec![11.0, 13.0], vec![12.0, 14.0]));
}

#[test]
fn a_row_is_a_slot_and_idle_ones_below_are_filled() {
    let mut bench = Bench::new(config(direct(), 4), 1);
    for id in 1..=3 {
        bench.send(id, Start, id as f32);
    }
    let job = bench.take(0).unwrap();
    assert_eq!(values(&job), [1.0, 2.0, 3.0], "up to the highest slot in use");
    assert_eq!(
        (column(&job, 1), column(&job, 2), column(&job, 3)),
        (vec![1.0; 3], vec![0.0; 3], vec![1.0; 3])
    );
    bench.finish(0, job, Ok);
    bench.send(3, End, 33.0);
    bench.send(2, Middle, 22.0);
    let job = bench.take(0).unwrap();
    assert_eq!(values(&job), [0.0, 22.0, 33.0]);
    assert_eq!(column(&job, 1), [0.0; 3], "START");
    assert_eq!(column(&job, 2), [0.0, 0.0, 1.0], "END");
    assert_eq!(column(&job, 3), [0.0, 1.0, 1.0], "READY");
    let ids: Vec<_> = job.entries.iter().map(|entry| entry.request.inputs()[4].data[0]).collect();
    assert_eq!(ids, [0, 2, 3], "CORRID");
    assert!(job.entries[0].request.is_null());
    bench.finish(0, job, Ok);
    bench.send(1, Middle, 11.0);
    assert_eq!(bench.run(0), [11.0]);
}

#[test]
fn the_backlog_gets_slots_in_its_order_and_may_be_added_to() {
    let mut bench = Bench::new(config(direct(), 1), 1);
    bench.send(1, Start, 1.0);
    for id in [2, 3] {
        bench.send(id, Start, id as f32);
        bench.send(id, Middle, id as f32 + 0.5);
    }
    bench.send(2, End, 2.75);
    assert_eq!(bench.refused(8, Middle).0, ErrorCode::InvalidArg);
    assert_eq!((bench.run(0), bench.run(0), bench.sequencer.pending()), (vec![1.0], vec![], 5));
    bench.send(1, End, 1.5);
    let ran: Vec<_> = (0..6).flat_map(|_| bench.run(0)).collect();
    assert_eq!(ran, [1.5, 2.0, 2.5, 2.75, 3.0, 3.5]);
    bench.send(3, End, 3.75);
    assert_eq!(bench.run(0), [3.75]);
}

#[test]
fn a_second_start_goes_on_in_the_same_slot_with_a_fresh_state() {
    let mut bench = Bench::new(config(direct(), 2), 1);
    for (flags, value, state) in
        [(Start, 1.0, -1.0), (Middle, 2.0, 1.0), (Start, 3.0, -1.0), (Middle, 4.0, 3.0), (End, 5.0, 4.0)]
    {
        bench.send(1, flags, value);
        let job = bench.take(0).unwrap();
        assert_eq!((values(&job), column(&job, 5)), (vec![value], vec![state]));
        bench.finish(0, job, Ok);
    }
}

#[test]
fn a_state_stays_with_its_sequence_and_survives_a_failure() {
    let mut bench = Bench::new(config(direct(), 2), 1);
    bench.send(1, Start, 1.0);
    bench.send(2, Start, 2.0);
    assert_eq!(bench.run(0), [1.0, 2.0]);
    bench.send(2, Middle, 3.0);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 5)), (vec![0.0, 3.0], vec![0.0, 2.0]));
    bench.finish(0, job, |_| Err(Error::internal("failed")));
    bench.send(1, Middle, 4.0);
    bench.send(2, End, 5.0);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 5)), (vec![4.0, 5.0], vec![1.0, 2.0]));
    bench.send(3, Start, 6.0); // gets the slot of 2, whose last request still runs
    bench.finish(0, job, Ok);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 5)), (vec![0.0, 6.0], vec![0.0, -1.0]));
}

#[test]
fn idle_sequences_lose_their_slot() {
    let mut bench = Bench::new(config(direct(), 1), 1);
    bench.send(7, Start, 1.0);
    bench.send(2, Start, 2.0);
    bench.now = 600;
    bench.send(7, Middle, 3.0);
    assert_eq!((bench.run(0), bench.run(0)), (vec![1.0], vec![3.0]));
    assert_eq!(bench.sequencer.next_expiry(), Some(at(IDLE_US)));
    bench.expire(IDLE_US);
    assert_eq!(bench.sequencer.next_expiry(), Some(at(600 + IDLE_US)), "it had another request at 600");
    bench.expire(600 + IDLE_US - 1);
    assert_eq!(bench.run(0), []);
    bench.expire(600 + IDLE_US);
    assert_eq!(bench.refused(7, Middle), (ErrorCode::InvalidArg, NO_START.into()));
    assert_eq!(bench.run(0), [2.0], "the backlog has the slot");
    assert_eq!(bench.refused(2, Middle).0, ErrorCode::InvalidArg, "which was idle for as long");
}

#[test]
fn requests_that_wait_are_run_before_an_idle_sequence_ends() {
    let mut bench = Bench::new(config(direct(), 1), 1);
    bench.send(1, Start, 1.0);
    bench.expire(IDLE_US);
    bench.send(2, Only, 2.0);
    assert_eq!((bench.run(0), bench.run(0)), (vec![1.0], vec![2.0]));
}

#[test]
fn a_sequence_times_out_in_the_backlog_as_a_whole() {
    let mut bench = Bench::new(config(direct(), 1), 1);
    bench.try_send(1, Start, 1.0, 1, 5).unwrap(); // has a slot at once
    bench.try_send(7, Start, 7.0, 1, 500).unwrap();
    bench.try_send(7, Middle, 7.0, 1, 100).unwrap();
    bench.try_send(3, Only, 3.0, 1, 0).unwrap();
    assert_eq!(bench.sequencer.next_expiry(), Some(at(100)));
    assert_eq!((bench.expire(99), bench.expire(100)), (0, 2));
    assert_eq!(bench.refused(7, Middle), (ErrorCode::InvalidArg, NO_START.into()));
    bench.send(1, End, 1.5);
    assert_eq!((bench.run(0), bench.run(0), bench.run(0)), (vec![1.0], vec![1.5], vec![3.0]));
    assert_eq!((bench.sequencer.pending(), bench.expire(IDLE_US)), (0, 0));
}

#[test]
fn a_cancelled_request_takes_those_behind_it_along() {
    let check = |strategy: Strategy| {
        let mut bench = Bench::new(config(strategy, 1), 1);
        bench.send(7, Start, 1.0);
        bench.send(7, Middle, 2.0);
        let third = bench.send(7, Middle, 3.0);
        bench.send(7, Middle, 4.0);
        bench.send(2, Start, 5.0);
        let behind = bench.send(2, Middle, 6.0);
        bench.send(3, Only, 7.0);
        assert_eq!(bench.sequencer.cancel(third).len(), 2);
        assert_eq!(bench.sequencer.cancel(third).len(), 0, "it has left");
        assert_eq!(bench.refused(7, Middle), (ErrorCode::InvalidArg, NO_START.into()));
        assert_eq!(bench.sequencer.cancel(behind).len(), 2, "nothing of it has run: all of it goes");
        assert_eq!((bench.run(0), bench.run(0), bench.run(0)), (vec![1.0], vec![2.0], vec![7.0]));
        let only = bench.send(4, Start, 8.0);
        assert_eq!(bench.sequencer.cancel(only).len(), 1, "first of its slot");
        let running = bench.send(5, Start, 9.0);
        let job = bench.take(0).unwrap();
        assert_eq!(bench.sequencer.cancel(running).len(), 0, "it runs");
        bench.finish(0, job, Ok);
        bench.send(5, End, 10.0);
        assert_eq!((bench.run(0), bench.sequencer.pending()), (vec![10.0], 0));
    };
    check(direct());
    check(oldest(1));
}

#[test]
fn batches_wait_for_company_as_the_config_says() {
    let rule = Direct { max_queue_delay_us: 100, minimum_slot_utilization: 0.5 };
    let mut bench = Bench::new(config(Strategy::Direct(rule), 4), 1);
    bench.send(1, Start, 1.0);
    bench.now = 40;
    assert!(matches!(bench.sequencer.next(0, at(40)), Next::Wait { until } if until == at(101)));
    bench.send(2, Start, 2.0);
    assert_eq!(bench.run(0), [1.0, 2.0], "half of the slots have a request");
    bench.send(1, Middle, 3.0);
    assert_eq!(bench.run(0), []);
    bench.now = 141;
    assert_eq!(bench.run(0), [3.0], "its time is over");
    bench.send(2, Middle, 4.0);
    bench.sequencer.close();
    assert_eq!(bench.run(0), [0.0, 4.0], "nobody else can come");
}

#[test]
fn other_shapes_go_in_other_batches_and_nobody_starves() {
    let mut bench = Bench::new(config(direct(), 4), 1);
    let mut send = |id, flags, value, width| bench.try_send(id, flags, value, width, 0).map(drop);
    for (flags, add) in [(Start, 0.0), (Middle, 0.25), (End, 0.5)] {
        for (id, width) in [(1, 2), (2, 2), (3, 1), (4, 3)] {
            send(id, flags, id as f32 + add, width).unwrap();
        }
    }
    let batches: Vec<_> = std::iter::from_fn(|| bench.run_with(0, Ok)).collect();
    let expected = [0.0, 0.25, 0.5].map(|add| {
        [vec![1.0 + add, 2.0 + add, 0.0, 0.0], vec![0.0, 0.0, 3.0 + add, 0.0], vec![0.0, 0.0, 0.0, 4.0 + add]]
    });
    assert_eq!(
        batches,
        expected.as_flattened(),
        "twelve requests in nine batches of four rows, as in Triton"
    );
}

#[test]
fn oldest_runs_one_request_of_a_sequence_at_a_time() {
    let mut bench = Bench::new(config(oldest(8), 4), 1);
    for value in [1.0, 1.5, 1.75] {
        bench.send(1, if value == 1.0 { Start } else { Middle }, value);
    }
    bench.send(2, Start, 2.0);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 5)), (vec![1.0, 2.0], vec![-1.0; 2]), "no null requests");
    assert!(bench.take(0).is_none(), "the next one of 1 waits for the state");
    bench.send(3, Start, 3.0);
    bench.finish(0, job, Ok);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 5)), (vec![3.0, 1.5], vec![-1.0, 1.0]), "oldest first");
    bench.finish(0, job, Ok);
    assert_eq!(bench.run(0), [1.75]);
}

#[test]
fn oldest_has_so_many_candidates_and_a_slot_waits_for_the_end_of_its_last_request() {
    let mut bench = Bench::new(config(oldest(2), 4), 1);
    for id in 1..=3 {
        bench.send(id, Only, id as f32);
    }
    assert_eq!(bench.sequencer.pending(), 3);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), bench.take(0).is_none()), (vec![1.0, 2.0], true));
    bench.finish(0, job, Ok);
    assert_eq!((bench.run(0), bench.sequencer.pending()), (vec![3.0], 0));
}

#[test]
fn iterative_requests_need_no_id_and_leave_their_slot() {
    let mut config = config(direct(), 1);
    let Scheduling::Sequence(batching) = &mut config.scheduling else { unreachable!() };
    batching.iterative = true;
    let mut bench = Bench::new(config, 1);
    bench.send(0, Middle, 1.0);
    bench.send(0, Middle, 2.0);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 1), column(&job, 2)), (vec![1.0], vec![1.0], vec![0.0]));
    assert!(bench.take(0).is_none());
    bench.finish(0, job, Ok);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 5)), (vec![2.0], vec![-1.0]), "a sequence of its own");
}

#[test]
fn the_test_hooks_hold_batches_back() {
    let hold = Hold::new(2, 1, 2);
    let mut bench = Bench::held(config(direct(), 1), 2, hold);
    bench.send(1, Start, 1.0);
    bench.send(2, Start, 2.0);
    assert_eq!((bench.run(0), bench.run(1)), (vec![], vec![]), "nothing in the backlog");
    bench.send(3, Only, 3.0);
    assert_eq!((bench.run(0), bench.run(1)), (vec![1.0], vec![2.0]));
    bench.send(1, End, 4.0);
    assert_eq!((bench.run(0), bench.run(0)), (vec![4.0], vec![3.0]), "once only");
    let mut bench = Bench::held(config(oldest(4), 4), 1, Hold::new(2, 0, 1));
    bench.send(1, Start, 1.0);
    bench.send(1, Middle, 2.0);
    assert_eq!(bench.run(0), [], "one request is ready");
    bench.send(2, Start, 3.0);
    assert_eq!(bench.run(0), [1.0, 3.0]);
    let mut bench = Bench::held(config(direct(), 4), 1, Hold::new(9, 0, 1));
    bench.send(1, Start, 1.0);
    bench.sequencer.stop();
    assert_eq!(bench.run(0), [1.0], "a scheduler that stops holds nothing back");
}

#[test]
fn sequences_go_on_while_the_scheduler_stops_until_nobody_can_send() {
    let mut bench = Bench::new(config(direct(), 1), 1);
    bench.send(1, Start, 1.0);
    bench.send(2, Start, 2.0);
    bench.sequencer.stop();
    bench.send(1, Middle, 1.5);
    bench.send(2, Middle, 2.5);
    assert_eq!((bench.run(0), bench.run(0), bench.run(0)), (vec![1.0], vec![1.5], vec![]));
    assert!(!bench.sequencer.is_drained(0));
    bench.sequencer.close();
    assert!(!bench.sequencer.is_drained(0));
    assert_eq!(
        (bench.run(0), bench.run(0)),
        (vec![2.0], vec![2.5]),
        "the slot of 1 is free, though it did not end"
    );
    assert!(bench.sequencer.is_drained(0));
    assert_eq!(bench.sequencer.next_expiry(), None);
}

#[test]
fn slots_are_made_when_they_are_needed() {
    let mut bench = Bench::new(config(oldest(usize::MAX), 4), 2);
    for id in 1..=5 {
        bench.send(id, Only, 1.0);
    }
    assert_eq!(bench.sequencer.slots.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
    while bench.run(0).len() + bench.run(1).len() > 0 {}
    bench.send(6, Only, 1.0);
    assert_eq!(bench.sequencer.slots.iter().map(Vec::len).sum::<usize>(), 5, "used again");
}
