//! One traced request, from the frontend that received it to the writer: moments, tensors, and which model it was for.
//! A [`Trace`] that is dropped is written with what it has, so every way in which a request ends is covered.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use nereid_core::{InferResponse, ModelConfig, OutputTensor, Result, Timestamp, ValidRequest};
use nereid_repository::ModelVersion;

use super::live::Live;
use super::tensor::Tensor;

/// What happened. Names are Triton's (`tritonserver.cc`, `http_server.cc`, `infer_handler.cc`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    HttpRecvStart,
    HttpRecvEnd,
    HttpSendStart,
    HttpSendEnd,
    GrpcWaitreadStart,
    GrpcWaitreadEnd,
    GrpcSendStart,
    GrpcSendEnd,
    RequestStart,
    QueueStart,
    ComputeStart,
    ComputeInputEnd,
    ComputeOutputStart,
    ComputeEnd,
    RequestEnd,
    InferResponseComplete,
}

/// The trace of a request, or nothing for one that is not traced; then every method is a test of an `Option`.
#[derive(Debug, Default)]
pub struct Trace(Option<Box<Record>>);

/// What a trace has collected.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: u64,
    /// The settings that it was taken under.
    pub(super) live: Arc<Live>,
    pub(super) items: Vec<Item>,
    /// The request was found right and got to the model.
    started: bool,
}

#[derive(Debug)]
pub(super) enum Item {
    Moment(Event, Timestamp),
    Model { config: Arc<ModelConfig>, version: u64, request_id: String },
    Tensor(Tensor),
}

impl Event {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HttpRecvStart => "HTTP_RECV_START",
            Self::HttpRecvEnd => "HTTP_RECV_END",
            Self::HttpSendStart => "HTTP_SEND_START",
            Self::HttpSendEnd => "HTTP_SEND_END",
            Self::GrpcWaitreadStart => "GRPC_WAITREAD_START",
            Self::GrpcWaitreadEnd => "GRPC_WAITREAD_END",
            Self::GrpcSendStart => "GRPC_SEND_START",
            Self::GrpcSendEnd => "GRPC_SEND_END",
            Self::RequestStart => "REQUEST_START",
            Self::QueueStart => "QUEUE_START",
            Self::ComputeStart => "COMPUTE_START",
            Self::ComputeInputEnd => "COMPUTE_INPUT_END",
            Self::ComputeOutputStart => "COMPUTE_OUTPUT_START",
            Self::ComputeEnd => "COMPUTE_END",
            Self::RequestEnd => "REQUEST_END",
            Self::InferResponseComplete => "INFER_RESPONSE_COMPLETE",
        }
    }
}

impl Trace {
    pub(super) fn new(id: u64, live: Arc<Live>) -> Self {
        Self(Some(Box::new(Record { id, live, items: Vec::with_capacity(16), started: false })))
    }

    /// `event` happens now.
    pub fn mark(&mut self, event: Event) {
        if let Some(record) = &mut self.0 {
            record.moment(event, Timestamp::now());
        }
    }

    /// `event` happened at `moment`.
    pub(super) fn mark_at(&mut self, event: Event, moment: Timestamp) {
        if let Some(record) = &mut self.0 {
            record.moment(event, moment);
        }
    }

    /// The request fits `model` and is about to be queued.
    pub(crate) fn started(&mut self, model: &ModelVersion, request: &ValidRequest) {
        if let Some(record) = &mut self.0 {
            record.started(model, request);
        }
    }

    /// The model has answered, or has not.
    pub(crate) fn ended(&mut self, answer: &Result<InferResponse>) {
        if let Some(record) = &mut self.0
            && mem::take(&mut record.started)
        {
            record.ended(answer.as_ref().ok());
        }
    }

    /// `data`, with the trace tied to it: `event` happens when the last reference to it is dropped, and the trace ends.
    pub(crate) fn until_dropped(self, data: Bytes, event: Event) -> Bytes {
        match self.0 {
            Some(_) => Bytes::from_owner(Held { data, _end: self.ending(event) }),
            None => data,
        }
    }

    /// Marks `event` and ends the trace when dropped.
    pub(crate) fn ending(self, event: Event) -> Ending {
        Ending { trace: self, event }
    }

    /// Whether the request is traced.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Some(record) = self.0.take()
            && let Some(writer) = record.live.writer.clone()
        {
            writer.submit(record);
        }
    }
}

/// The end of a trace, wherever it is dropped.
#[derive(Debug)]
pub(crate) struct Ending {
    trace: Trace,
    event: Event,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.trace.mark(self.event);
    }
}

/// Bytes on their way to a client.
struct Held {
    data: Bytes,
    _end: Ending,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Record {
    fn moment(&mut self, event: Event, moment: Timestamp) {
        if self.live.values.level.timestamps {
            self.items.push(Item::Moment(event, moment));
        }
    }

    fn started(&mut self, model: &ModelVersion, request: &ValidRequest) {
        self.started = true;
        if self.live.values.level.timestamps {
            let request_id = request.id().to_owned();
            self.items.push(Item::Model { config: model.config.clone(), version: model.version, request_id });
        }
        let now = Timestamp::now();
        self.moment(Event::RequestStart, now);
        self.moment(Event::QueueStart, now);
        if self.live.values.level.tensors {
            self.items.extend(request.inputs().iter().filter_map(|input| {
                let config = model.config.inputs.get(input.index)?;
                Some(Item::Tensor(Tensor {
                    activity: "TENSOR_QUEUE_INPUT",
                    name: config.name.clone(),
                    datatype: config.datatype,
                    shape: input.shape.clone(),
                    data: input.data.clone(),
                }))
            }));
        }
    }

    fn ended(&mut self, response: Option<&InferResponse>) {
        if let Some(InferResponse { outputs, timing, .. }) = response {
            self.moment(Event::ComputeStart, timing.compute_start);
            self.moment(Event::ComputeInputEnd, timing.inputs_ready);
            self.moment(Event::ComputeOutputStart, timing.compute_done);
            self.moment(Event::ComputeEnd, timing.compute_end);
            if self.live.values.level.tensors {
                self.items.extend(outputs.iter().cloned().map(|output| {
                    let OutputTensor { name, datatype, shape, data } = output;
                    Item::Tensor(Tensor { activity: "TENSOR_BACKEND_OUTPUT", name, datatype, shape, data })
                }));
            }
        }
        self.moment(Event::RequestEnd, Timestamp::now());
    }

    /// Bytes that are kept alive by this trace, roughly.
    pub(super) fn bytes(&self) -> usize {
        let of = |item: &Item| match item {
            Item::Tensor(tensor) => mem::size_of::<Item>().saturating_add(tensor.data.len()),
            Item::Model { request_id, .. } => mem::size_of::<Item>().saturating_add(request_id.len()),
            Item::Moment(..) => mem::size_of::<Item>(),
        };
        self.items.iter().fold(0, |sum: usize, item| sum.saturating_add(of(item)))
    }
}
