//! One traced request, from the frontend that received it to the writer: moments, tensors, and which model it was for;
//! and the same of every request that an ensemble makes on its behalf. It is written with what it has when the last who
//! tells about it lets go, so every way in which a request ends is covered.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use nereid_core::{
    Error, InferResponse, InferTrace, ModelConfig, OutputTensor, Result, Timestamp, ValidInput, ValidRequest,
};
use nereid_repository::ModelVersion;
use parking_lot::Mutex;

use super::context::Origin;
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
pub struct Trace(Option<Arc<Telling>>);

/// Those who tell about one request and those made on its behalf.
#[derive(Debug)]
struct Telling(Mutex<Option<Box<Record>>>);

/// One of the requests of a record, and who tells about it.
#[derive(Debug)]
struct Told {
    telling: Arc<Telling>,
    index: usize,
}

/// What a trace has collected.
#[derive(Debug)]
pub(super) struct Record {
    /// The settings that it was taken under.
    pub(super) live: Arc<Live>,
    pub(super) origin: Origin,
    /// The client's request, then those made on its behalf; each before its own.
    pub(super) requests: Vec<Traced>,
    /// When the frontend was done with it.
    pub(super) end: Timestamp,
}

/// What was collected about one request.
#[derive(Debug)]
pub(super) struct Traced {
    pub(super) id: u64,
    /// The request on whose behalf it was made.
    pub(super) parent_id: Option<u64>,
    pub(super) items: Vec<Item>,
    /// The request was found right and got to the model, and has not ended.
    running: Option<Arc<ModelConfig>>,
}

#[derive(Debug)]
pub(super) enum Item {
    Moment(Event, Timestamp),
    Model {
        config: Arc<ModelConfig>,
        version: u64,
        request_id: String,
    },
    Tensor(Tensor),
    /// Why there is no answer.
    Failed(Error),
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
    pub(super) fn new(live: Arc<Live>, origin: Origin) -> Self {
        let requests = vec![Traced::new(live.next_id(), None)];
        let record = Record { live, origin, requests, end: Timestamp::default() };
        Self(Some(Arc::new(Telling(Mutex::new(Some(Box::new(record)))))))
    }

    /// `event` happens now.
    pub fn mark(&mut self, event: Event) {
        if self.is_on() {
            self.mark_at(event, Timestamp::now());
        }
    }

    /// `event` happened at `moment`.
    pub(super) fn mark_at(&mut self, event: Event, moment: Timestamp) {
        if let Some(telling) = &self.0 {
            telling.with(|record| record.moment(0, event, moment));
        }
    }

    /// The request fits `model` and is about to be queued.
    pub(crate) fn started(&mut self, model: &ModelVersion, request: &mut ValidRequest) {
        if let Some(telling) = &self.0 {
            telling.with(|record| record.started(0, &model.config, model.version, request));
            if model.config.is_ensemble() {
                request.set_trace(Arc::new(Told { telling: telling.clone(), index: 0 }));
            }
        }
    }

    /// The model has answered, or has not.
    pub(crate) fn ended(&mut self, answer: &Result<InferResponse>) {
        if let Some(telling) = &self.0 {
            telling.with(|record| record.ended(0, answer));
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
        if let Some(telling) = &self.0 {
            telling.with(|record| record.end = Timestamp::now());
        }
    }
}

impl Telling {
    fn with(&self, tell: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut *self.0.lock() {
            tell(record);
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(record) = self.0.get_mut().take()
            && let Some(sink) = record.live.sink.clone()
        {
            sink.submit(record);
        }
    }
}

impl InferTrace for Told {
    fn child(&self, model: &Arc<ModelConfig>, version: u64, request: &ValidRequest) -> Arc<dyn InferTrace> {
        let mut index = 0;
        self.telling.with(|record| {
            index = record.requests.len();
            let parent_id = record.requests[self.index].id;
            record.requests.push(Traced::new(record.live.next_id(), Some(parent_id)));
            record.started(index, model, version, request);
        });
        Arc::new(Self { telling: self.telling.clone(), index })
    }

    fn ended(&self, answer: &Result<InferResponse>) {
        self.telling.with(|record| record.ended(self.index, answer));
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

impl Traced {
    pub(super) fn new(id: u64, parent_id: Option<u64>) -> Self {
        Self { id, parent_id, items: Vec::with_capacity(16), running: None }
    }
}

impl Record {
    fn moment(&mut self, index: usize, event: Event, moment: Timestamp) {
        if self.live.values.level.timestamps {
            self.requests[index].items.push(Item::Moment(event, moment));
        }
    }

    fn started(&mut self, index: usize, config: &Arc<ModelConfig>, version: u64, request: &ValidRequest) {
        let now = Timestamp::now();
        let traced = &mut self.requests[index];
        traced.running = Some(config.clone());
        if self.live.values.level.timestamps {
            let request_id = request.id().to_owned();
            traced.items.push(Item::Model { config: config.clone(), version, request_id });
        }
        self.moment(index, Event::RequestStart, now);
        self.moment(index, Event::QueueStart, now);
        if self.live.writes_tensors() {
            let tensor = |input: &ValidInput| {
                let config = config.inputs.get(input.index)?;
                Some(Item::Tensor(Tensor {
                    activity: "TENSOR_QUEUE_INPUT",
                    name: config.name.clone(),
                    datatype: config.datatype,
                    shape: input.shape.clone(),
                    data: input.data.clone(),
                }))
            };
            self.requests[index].items.extend(request.inputs().iter().filter_map(tensor));
        }
    }

    fn ended(&mut self, index: usize, answer: &Result<InferResponse>) {
        let Some(config) = self.requests[index].running.take() else { return };
        match answer {
            Ok(InferResponse { outputs, timing, .. }) => {
                // An ensemble computes nothing, and neither does who finds an answer in the response cache.
                if !config.is_ensemble() && timing.compute_start != timing.compute_end {
                    self.moment(index, Event::ComputeStart, timing.compute_start);
                    self.moment(index, Event::ComputeInputEnd, timing.inputs_ready);
                    self.moment(index, Event::ComputeOutputStart, timing.compute_done);
                    self.moment(index, Event::ComputeEnd, timing.compute_end);
                }
                if self.live.writes_tensors() {
                    self.requests[index].items.extend(outputs.iter().cloned().map(|output| {
                        let OutputTensor { name, datatype, shape, data } = output;
                        Item::Tensor(Tensor {
                            activity: "TENSOR_BACKEND_OUTPUT",
                            name,
                            datatype,
                            shape,
                            data,
                        })
                    }));
                }
            }
            Err(error) => self.requests[index].items.push(Item::Failed(error.clone())),
        }
        self.moment(index, Event::RequestEnd, Timestamp::now());
    }

    /// The id of the client's request.
    pub(super) fn id(&self) -> u64 {
        self.requests.first().map_or(0, |request| request.id)
    }

    /// Whether nothing was collected.
    pub(super) fn is_empty(&self) -> bool {
        let mut items = self.requests.iter().flat_map(|request| &request.items);
        items.all(|item| matches!(item, Item::Failed(_)))
    }

    /// Lets go of all tensors.
    pub(super) fn drop_tensors(&mut self) {
        for request in &mut self.requests {
            request.items.retain(|item| !matches!(item, Item::Tensor(_)));
        }
    }

    /// Bytes that are kept alive by this trace, roughly.
    pub(super) fn bytes(&self) -> usize {
        let of = |item: &Item| {
            mem::size_of::<Item>().saturating_add(match item {
                Item::Tensor(tensor) => tensor.data.len(),
                Item::Model { request_id, .. } => request_id.len(),
                Item::Failed(error) => error.message().len(),
                Item::Moment(..) => 0,
            })
        };
        let items = self.requests.iter().flat_map(|request| &request.items);
        items.fold(0, |sum: usize, item| sum.saturating_add(of(item)))
    }
}
