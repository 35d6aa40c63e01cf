//! A request that was checked, and its inputs: what schedulers and backends are given. How it is checked is in
//! `validate.rs`.

use std::sync::Arc;

use bytes::Bytes;

use crate::placed::Places;
use crate::validate::request_prefix;
use crate::{DeviceSlice, InferTrace, Parameters, Sequence, Shape};

/// A request that fits its model.
#[derive(Debug, Clone)]
pub struct ValidRequest {
    pub(crate) id: String,
    pub(crate) inputs: Vec<ValidInput>,
    /// Indices into the config's outputs, ascending; `None` means all.
    pub(crate) outputs: Option<Box<[usize]>>,
    /// Places on a GPU for outputs, by index of the config.
    pub(crate) device_outputs: Option<Box<Places>>,
    pub(crate) batch_size: u32,
    pub(crate) priority: u64,
    pub(crate) timeout_us: u64,
    pub(crate) sequence: Sequence,
    pub(crate) parameters: Parameters,
    /// It holds a place in a batch for nobody.
    pub(crate) null: bool,
    /// A thin pointer: most requests have none, and all lie in queues.
    pub(crate) trace: Option<Box<Arc<dyn InferTrace>>>,
}

/// One input that fits its model.
#[derive(Debug, Clone)]
pub struct ValidInput {
    /// Position in the config's inputs, or behind them in those that the scheduler adds.
    pub index: usize,
    /// Shape that the model wants: reshaped, with the batch dimension if the model batches, but for a shape tensor, whose
    /// values are those of the whole batch.
    pub shape: Shape,
    /// Empty when the tensor is on a GPU.
    pub data: Bytes,
    /// The tensor, if it is on a GPU.
    pub device: Option<Box<DeviceSlice>>,
}

impl ValidRequest {
    /// A request with `inputs` of one that fits, from nobody and for nothing.
    pub(crate) fn null(inputs: Vec<ValidInput>, batch_size: u32) -> Self {
        Self {
            id: String::new(),
            inputs,
            outputs: Some(Box::default()),
            device_outputs: None,
            batch_size,
            priority: 0,
            timeout_us: 0,
            sequence: Sequence::default(),
            parameters: Parameters::new(),
            null: true,
            trace: None,
        }
    }

    /// The client's id; may be empty.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `[request id: x] `, Triton's prefix of messages about one request.
    pub fn log_prefix(&self) -> String {
        request_prefix(&self.id)
    }

    /// Inputs in the order of the config.
    pub fn inputs(&self) -> &[ValidInput] {
        &self.inputs
    }

    /// The input at `index` of the config, if the request has it.
    pub fn input(&self, index: usize) -> Option<&ValidInput> {
        match self.inputs.get(index) {
            Some(input) if input.index == index => Some(input),
            _ => self.inputs.iter().find(|i| i.index == index), // an optional input before it is absent
        }
    }

    /// Whether the output at `index` of the config was asked for.
    pub fn wants(&self, index: usize) -> bool {
        self.outputs.as_ref().is_none_or(|wanted| wanted.binary_search(&index).is_ok())
    }

    /// Where on a GPU the output at `index` of the config is to be written, if the request gives a place.
    pub fn device_output(&self, index: usize) -> Option<&DeviceSlice> {
        self.device_outputs
            .iter()
            .flat_map(|places| &**places)
            .find(|(output, _)| *output == index)
            .map(|(_, slice)| slice)
    }

    /// Whether any of its tensors is on a GPU.
    pub fn is_on_device(&self) -> bool {
        self.device_outputs.is_some() || self.inputs.iter().any(|input| input.device.is_some())
    }

    /// Rows of the request; 0 for a model that does not batch.
    pub fn batch_size(&self) -> u32 {
        self.batch_size
    }

    /// What the request counts in `nv_inference_count`: its rows, at least 1.
    pub fn inference_count(&self) -> usize {
        self.batch_size.max(1) as usize
    }

    /// Priority level asked for; 0 means the model's default.
    pub fn priority(&self) -> u64 {
        self.priority
    }

    /// Queue time-out asked for, in microseconds; 0 means none.
    pub fn timeout_us(&self) -> u64 {
        self.timeout_us
    }

    /// Sequence the request belongs to.
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// Custom parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Its trace, if it is traced and other requests are made on its behalf.
    pub fn trace(&self) -> Option<&Arc<dyn InferTrace>> {
        self.trace.as_deref()
    }

    /// Traces the request, which is made to an ensemble.
    pub fn set_trace(&mut self, trace: Arc<dyn InferTrace>) {
        self.trace = Some(Box::new(trace));
    }
}
