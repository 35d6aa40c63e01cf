//! What a scheduler of sequences does to a valid request: adds inputs that no client sends, and makes requests that
//! hold an idle sequence's place in a batch. Which values they get is the scheduler's business.

use bytes::Bytes;

use crate::config::{InputConfig, TensorForm};
use crate::{CorrelationId, DataType, ModelConfig, Sequence, ValidInput, ValidRequest, shape};

impl ValidRequest {
    /// Adds inputs, whose positions follow on those that the request has.
    pub fn inject(&mut self, inputs: impl IntoIterator<Item = ValidInput>) {
        self.inputs.extend(inputs);
    }

    /// Adds those inputs that the request does not have yet.
    pub fn inject_missing(&mut self, inputs: impl IntoIterator<Item = ValidInput>) {
        for input in inputs {
            if self.input(input.index).is_none() {
                self.inputs.push(input);
            }
        }
        self.inputs.sort_by_key(|input| input.index);
    }

    /// Takes all injected inputs away again.
    pub fn withdraw(&mut self, config: &ModelConfig) {
        self.inputs.retain(|input| input.index < config.inputs.len());
    }

    /// Makes this the only request of the sequence `id`.
    pub fn start_sequence(&mut self, id: CorrelationId) {
        self.sequence = Sequence { id, start: true, end: false };
    }

    /// Whether nobody has sent this request ([`Self::null_like`]).
    pub fn is_null(&self) -> bool {
        self.null
    }

    /// A request that nobody has sent and nobody waits for: the client's inputs of this one, zeroed but for shape tensors. `zeros` is kept
    /// from one call to the next, so that the data of all of them is the same memory.
    #[must_use]
    pub fn null_like(&self, config: &ModelConfig, zeros: &mut Bytes) -> Self {
        let own = self.inputs.iter().filter(|input| input.index < config.inputs.len());
        let inputs = own.map(|input| {
            let InputConfig { datatype, form, .. } = &config.inputs[input.index];
            // The values of a shape tensor are those of the whole batch.
            if *form == TensorForm::Shape { input.clone() } else { input.zeroed(*datatype, zeros) }
        });
        Self::null(inputs.collect(), self.batch_size())
    }
}

impl ValidInput {
    /// An input of the same shape with zeros, or empty strings, for data.
    #[must_use]
    pub fn zeroed(&self, datatype: DataType, zeros: &mut Bytes) -> Self {
        let length = match datatype {
            // The length of an empty string is four bytes; there is one in the data for each element.
            DataType::Bytes => shape::element_count(&self.shape).map_or(0, |count| count.saturating_mul(4)),
            _ => self.data.len(),
        };
        let length = length.min(self.data.len());
        if zeros.len() < length {
            *zeros = Bytes::from(vec![0; length]);
        }
        Self { index: self.index, shape: self.shape.clone(), data: zeros.slice(..length), device: None }
    }
}

#[cfg(test)]
#[path = "injection_tests.rs"]
mod tests;
