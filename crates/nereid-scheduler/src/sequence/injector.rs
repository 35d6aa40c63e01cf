//! What the scheduler adds to a request, so that the model knows where a sequence stands: controls, and the state that
//! the sequence's last request left behind. Also makes the requests that fill the rows of sequences without one.

use std::sync::Arc;

use bytes::Bytes;
use nereid_core::config::{Control, Flag, InputConfig, SequenceBatching, StateTensor};
use nereid_core::{
    CorrelationId, DataType, ModelConfig, Responder, Sequence, Shape, Timestamp, ValidInput, ValidRequest,
};

use crate::batching::queue::Entry;

/// Adds a model's controls and states to its requests.
#[derive(Debug)]
pub(crate) struct Injector {
    config: Arc<ModelConfig>,
    /// Data of null requests.
    zeros: Bytes,
}

impl Injector {
    pub(crate) fn new(config: Arc<ModelConfig>) -> Self {
        Self { config, zeros: Bytes::new() }
    }

    /// Adds to `request` what its model wants to know. `states` is what the sequence's last request left behind; what
    /// has left nothing begins with the initial states, as does the first request.
    pub(crate) fn prepare(&self, request: &mut ValidRequest, states: &[StateTensor]) {
        let injected = self.injected(request.sequence(), states);
        request.inject(injected);
    }

    /// Adds what `request`, which warms the model up, leaves out of this.
    pub(crate) fn complete(&self, request: &mut ValidRequest) {
        let injected = self.injected(request.sequence(), &[]);
        request.inject_missing(injected);
    }

    fn injected(&self, sequence: &Sequence, states: &[StateTensor]) -> Vec<ValidInput> {
        let mut injected = Vec::with_capacity(self.config.injected_inputs.len());
        let Some(batching) = self.config.sequence() else { return injected };
        let carried = if sequence.start { &[] } else { states };
        self.controls(batching, &mut injected, sequence, true);
        for (number, state) in batching.states.iter().enumerate() {
            let StateTensor { shape, data } = carried.get(number).unwrap_or(&state.initial).clone();
            injected.push(ValidInput {
                index: self.config.inputs.len() + injected.len(),
                shape,
                data,
                device: None,
            });
        }
        injected
    }

    /// Takes back what [`Self::prepare`] added.
    pub(crate) fn withdraw(&self, request: &mut ValidRequest) {
        request.withdraw(&self.config);
    }

    /// A request in the shape of `real`, which is prepared, that fills the row of a sequence that has none.
    pub(crate) fn null(&mut self, real: &ValidRequest, now: Timestamp) -> Entry {
        let mut request = real.null_like(&self.config, &mut self.zeros);
        if let Some(batching) = self.config.sequence() {
            let first = self.config.inputs.len();
            let mut injected = Vec::with_capacity(self.config.injected_inputs.len());
            self.controls(batching, &mut injected, &Sequence::default(), false);
            let inputs = self.config.injected_inputs.iter().enumerate().skip(injected.len());
            for (number, input) in inputs {
                let state = real.input(first + number);
                injected.extend(state.map(|state| state.zeroed(input.datatype, &mut self.zeros)));
            }
            request.inject(injected);
        }
        Entry::new(request, Responder::nobody(), now)
    }

    fn controls(
        &self,
        batching: &SequenceBatching,
        injected: &mut Vec<ValidInput>,
        sequence: &Sequence,
        ready: bool,
    ) {
        let shape = if self.config.batches() { Shape::from_slice(&[1, 1]) } else { Shape::from_slice(&[1]) };
        for (control, input) in batching.controls.iter().zip(&self.config.injected_inputs) {
            let data = match control {
                Control::Start(flag) => choose(flag, sequence.start),
                Control::End(flag) => choose(flag, sequence.end),
                Control::Ready(flag) => choose(flag, ready),
                Control::CorrelationId => id_bytes(&sequence.id, input),
            };
            let index = self.config.inputs.len() + injected.len();
            injected.push(ValidInput { index, shape: shape.clone(), data, device: None });
        }
    }
}

fn choose(flag: &Flag, value: bool) -> Bytes {
    if value { flag.yes.clone() } else { flag.no.clone() }
}

/// `id` as an element of `input`; a number is cut to its size, as in Triton.
fn id_bytes(id: &CorrelationId, input: &InputConfig) -> Bytes {
    let text = match (id, input.datatype) {
        (CorrelationId::Number(number), datatype) if datatype != DataType::Bytes => {
            let size = datatype.size_bytes().unwrap_or(size_of::<u64>());
            return Bytes::copy_from_slice(&number.to_le_bytes()[..size]);
        }
        (CorrelationId::Number(_), _) => "", // of a null request
        (CorrelationId::Text(text), _) => text,
    };
    let mut data = bytes::BytesMut::with_capacity(text.len() + 4);
    nereid_core::string_tensor::push(&mut data, text.as_bytes());
    data.freeze()
}
