//! Gives one batch back, one request after the other, as Triton's backend does: so that ragged ones may share a batch.
//! Their data is handed on as it came, without a copy.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nereid_core::backend::{Execution, Instance, Outputs, Terminate};
use nereid_core::batch::Batch;
use nereid_core::config::OutputConfig;
use nereid_core::shape::{self, Dims};
use nereid_core::{
    Error, ErrorCode, ModelConfig, OutputTensor, Parameter, Parameters, Result, Shape, Timestamp,
    ValidRequest,
};

use crate::counters::InputBytes;
use crate::delay::Delay;
use crate::pairs::{Absent, Pair};

/// One instance.
#[derive(Debug)]
pub(crate) struct IdentityInstance {
    pairs: Arc<[Pair]>,
    /// `None` where there is nothing to wait for.
    delay: Option<Arc<Delay>>,
    input_bytes: Arc<InputBytes>,
    parameters: Parameters,
    batches: bool,
}

impl IdentityInstance {
    /// An instance for the model of `config`, each execution of which takes `delay`.
    pub(crate) fn new(
        config: &ModelConfig,
        pairs: Arc<[Pair]>,
        input_bytes: Arc<InputBytes>,
        delay: Duration,
    ) -> Self {
        let delay = (!delay.is_zero()).then(|| Arc::new(Delay::new(delay)));
        Self { pairs, delay, input_bytes, parameters: parameters(), batches: config.batches() }
    }

    /// The output of one request; `None` if it lacks an input that is required, and such ones are not let in.
    fn output(&self, pair: &Pair, request: &ValidRequest, config: &ModelConfig) -> Option<OutputTensor> {
        let (shape, data) = match (request.input(pair.input), &pair.absent) {
            (Some(input), _) => {
                self.input_bytes.add(input.data.len());
                tracing::debug!(
                    "\tinput {}: datatype = {}, shape = {}, byte_size = {}, buffer_count = 1",
                    config.inputs[pair.input].name,
                    config.inputs[pair.input].datatype,
                    Dims(&input.shape),
                    input.data.len()
                );
                (input.shape.clone(), input.data.clone())
            }
            (None, absent) => self.zeros(absent.as_ref()?, request.inference_count())?,
        };
        let OutputConfig { name, datatype, dims, reshape, .. } = &config.outputs[pair.output];
        let shape = match reshape {
            None => shape,
            Some(from) => shape::reshape(&shape, usize::from(self.batches), from, dims),
        };
        Some(OutputTensor { name: name.clone(), datatype: *datatype, shape, data })
    }

    fn zeros(&self, absent: &Absent, rows: usize) -> Option<(Shape, Bytes)> {
        let mut shape = Shape::new();
        if self.batches {
            shape.push(rows as i64);
        }
        shape.extend_from_slice(&absent.dims);
        Some((shape, vec![0; absent.row_bytes.checked_mul(rows)?].into()))
    }
}

impl Instance for IdentityInstance {
    fn execute(&mut self, batch: &Batch<'_>) -> Result<Execution> {
        let inputs_ready = Timestamp::now();
        if self.delay.as_ref().is_some_and(|delay| !delay.wait()) {
            return Err(Error::new(ErrorCode::Cancelled, "execution was stopped"));
        }
        let of_request = |request: &&ValidRequest| {
            let wanted = self.pairs.iter().filter(|pair| request.wants(pair.output));
            wanted.filter_map(|pair| self.output(pair, request, batch.config())).collect()
        };
        let outputs = Outputs::Each(batch.requests().iter().map(of_request).collect());
        let parameters = self.parameters.clone();
        Ok(Execution { outputs, parameters, inputs_ready, compute_done: Timestamp::now() })
    }

    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        let delay = self.delay.clone()?;
        Some(delay)
    }
}

/// What every response carries, so that clients can see how response parameters arrive.
fn parameters() -> Parameters {
    [
        ("param0", Parameter::Text("an example string parameter".into())),
        ("param1", Parameter::Int(42)),
        ("param2", Parameter::Bool(false)),
        ("param3", Parameter::Double(123.123)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
