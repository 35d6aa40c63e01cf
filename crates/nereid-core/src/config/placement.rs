//! Which tensors of a model may lie in the memory of a GPU, as far as its config says. Whether the model takes them there
//! is for its instances to say, and whether a client has them there for the frontends.

use super::{ModelConfig, Scheduling, TensorForm};
use crate::DataType;

impl ModelConfig {
    /// Whether a request may have the input at `index` on a GPU: nobody but the model looks at its data. The bytes of
    /// BOOL are normalised in host memory, and those of a shape tensor read there.
    pub fn input_may_be_on_device(&self, index: usize) -> bool {
        let allowed = |datatype, form| datatype != DataType::Bool && is_dense(datatype, form);
        self.hands_on() && self.inputs.get(index).is_some_and(|input| allowed(input.datatype, input.form))
    }

    /// Whether a request may give a place on a GPU for the output at `index`: nobody but the client looks at its data,
    /// and rows say which part is whose.
    pub fn output_may_be_on_device(&self, index: usize) -> bool {
        self.hands_on()
            && self.batch_output(index).is_none()
            && self.outputs.get(index).is_some_and(|output| is_dense(output.datatype, output.form))
    }

    /// Whether requests go to instances, and responses back, without anybody reading the data.
    fn hands_on(&self) -> bool {
        matches!(self.scheduling, Scheduling::Default | Scheduling::DynamicBatching(_))
            && !self.response_cache
    }
}

fn is_dense(datatype: DataType, form: TensorForm) -> bool {
    datatype.size_bytes().is_some() && form == TensorForm::Linear
}
