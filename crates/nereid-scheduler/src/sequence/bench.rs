//! A sequencer on a paused clock, for tests. A batch is written as the values of its requests, 0 for a null request.

use std::sync::Arc;

use bytes::Bytes;
use nereid_core::config::{
    Control, Direct, Flag, InputConfig, Oldest, OutputConfig, Scheduling, SequenceBatching, State,
    StateTensor, Strategy,
};
use nereid_core::testing::identity_config;
use nereid_core::{
    CorrelationId, DataType, Error, ErrorCode, InferRequest, InferResponse, InputTensor, ModelConfig,
    Responder, Result, Sequence, Shape, Timestamp, ValidRequest,
};

use super::batches::Job;
use super::hold::Hold;
use super::sequencer::Sequencer;
use crate::batching::queue::{Entry, Ticket};

pub(super) const IDLE_US: u64 = 1_000;

pub(super) fn at(us: u64) -> Timestamp {
    Timestamp::from_ns(us * 1000)
}

fn float(value: f32) -> Bytes {
    Bytes::copy_from_slice(&value.to_le_bytes())
}

/// Identity of rows of any width, with START, END, READY, CORRID and the state `IN` → `OUT`.
pub(super) fn config(strategy: Strategy, max_batch_size: u32) -> ModelConfig {
    let flag = || Flag { no: float(0.0), yes: float(1.0) };
    let tensor = |name: &str, datatype| InputConfig {
        name: name.into(),
        datatype,
        dims: vec![1],
        reshape: None,
        optional: false,
        allow_ragged_batch: false,
        form: Default::default(),
    };
    let flags = ["START", "END", "READY"].map(|name| tensor(name, DataType::Fp32));
    let others = [tensor("CORRID", DataType::Uint64), tensor("IN", DataType::Fp32)];
    let out = OutputConfig {
        name: "OUT".into(),
        datatype: DataType::Fp32,
        dims: vec![1],
        reshape: None,
        form: Default::default(),
    };
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

pub(super) fn direct() -> Strategy {
    Strategy::Direct(Direct::default())
}

pub(super) fn oldest(max_candidate_sequences: usize) -> Strategy {
    Strategy::Oldest(Oldest {
        max_candidate_sequences,
        preferred_batch_sizes: vec![4],
        max_queue_delay_us: 0,
    })
}

/// A request's place in its sequence.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Flags {
    Start,
    Middle,
    End,
    Only,
}

pub(super) struct Bench {
    pub(super) sequencer: Sequencer,
    pub(super) config: Arc<ModelConfig>,
    pub(super) now: u64,
}

impl Bench {
    pub(super) fn new(config: ModelConfig, instances: usize) -> Self {
        Self::held(config, instances, Hold::new(0, 0, instances))
    }

    pub(super) fn held(config: ModelConfig, instances: usize, hold: Hold) -> Self {
        let config = Arc::new(config);
        let batching = config.sequence().unwrap().clone();
        let sequencer = Sequencer::new(config.clone(), batching, instances, hold);
        Self { sequencer, config, now: 0 }
    }

    pub(super) fn send(&mut self, id: u64, flags: Flags, value: f32) -> Ticket {
        self.try_send(id, flags, value, 1, 0).unwrap()
    }

    pub(super) fn try_send(
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
        let (start, end) =
            (matches!(flags, Flags::Start | Flags::Only), matches!(flags, Flags::End | Flags::Only));
        let sequence = Sequence { id: CorrelationId::Number(id), start, end };
        let request = InferRequest { inputs: vec![input], sequence, timeout_us, ..Default::default() };
        let request = ValidRequest::new(request, &self.config)?;
        let entry = Entry::new(request, Responder::nobody(), at(self.now));
        self.sequencer.enqueue(entry).map_err(|refused| refused.error)
    }

    pub(super) fn refused(&mut self, id: u64, flags: Flags) -> (ErrorCode, String) {
        let error = self.try_send(id, flags, 0.0, 1, 0).unwrap_err();
        (error.code(), error.message().to_owned())
    }

    pub(super) fn take(&mut self, instance: usize) -> Option<Job> {
        let plan = self.sequencer.plan(instance, at(self.now));
        self.sequencer.carry_out(instance, &plan, at(self.now))
    }

    /// Runs the next batch of `instance`: its values. What a request gives back as its state is its value.
    pub(super) fn run(&mut self, instance: usize) -> Vec<f32> {
        self.run_with(instance, Ok).unwrap_or_default()
    }

    pub(super) fn run_with(
        &mut self,
        instance: usize,
        outcome: impl Fn(InferResponse) -> Result<InferResponse>,
    ) -> Option<Vec<f32>> {
        let job = self.take(instance)?;
        let values = values(&job);
        self.finish(instance, job, outcome);
        Some(values)
    }

    pub(super) fn finish(
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

    pub(super) fn expire(&mut self, now: u64) -> usize {
        self.now = now;
        self.sequencer.expire(at(now)).len()
    }
}

/// The first element of input `index` of each row.
pub(super) fn column(job: &Job, index: usize) -> Vec<f32> {
    let first = |data: &Bytes| f32::from_le_bytes(data[..4].try_into().unwrap());
    job.entries.iter().map(|entry| first(&entry.request.inputs()[index].data)).collect()
}

pub(super) fn values(job: &Job) -> Vec<f32> {
    column(job, 0)
}
