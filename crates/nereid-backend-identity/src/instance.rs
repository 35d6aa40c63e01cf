//! Gives one batch back. The data of a request that runs alone is handed on as it came; that of several is gathered
//! once, into memory that becomes the responses.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nereid_core::backend::{Execution, Instance, Terminate};
use nereid_core::batch::{Batch, concat};
use nereid_core::{
    Error, ErrorCode, ModelConfig, OutputTensor, Parameter, Parameters, Result, Shape, Timestamp, shape,
};

use crate::delay::Delay;
use crate::pairs::{Absent, Pair};

/// One instance.
#[derive(Debug)]
pub(crate) struct IdentityInstance {
    pairs: Arc<[Pair]>,
    /// `None` where there is nothing to wait for.
    delay: Option<Arc<Delay>>,
    parameters: Parameters,
    batches: bool,
}

impl IdentityInstance {
    /// An instance for the model of `config`, each execution of which takes `delay`.
    pub(crate) fn new(config: &ModelConfig, pairs: Arc<[Pair]>, delay: Duration) -> Self {
        let delay = (!delay.is_zero()).then(|| Arc::new(Delay::new(delay)));
        Self { pairs, delay, parameters: parameters(), batches: config.batches() }
    }

    fn output(&self, pair: &Pair, batch: &Batch<'_>) -> Result<Option<OutputTensor>> {
        let config = &batch.config().outputs[pair.output];
        let (shape, data) = match (gather(pair.input, batch)?, &pair.absent) {
            (Some(input), _) => input,
            (None, Some(absent)) => self.zeros(absent, batch)?,
            // Requests without an input that is required are not let in.
            (None, None) => return Ok(None),
        };
        let shape = match &config.reshape {
            None => shape,
            Some(from) => shape::reshape(&shape, usize::from(self.batches), from, &config.dims),
        };
        Ok(Some(OutputTensor { name: config.name.clone(), datatype: config.datatype, shape, data }))
    }

    fn zeros(&self, absent: &Absent, batch: &Batch<'_>) -> Result<(Shape, Bytes)> {
        let rows = batch.size();
        let mut shape = Shape::new();
        if self.batches {
            shape.push(rows as i64);
        }
        shape.extend_from_slice(&absent.dims);
        let bytes =
            absent.row_bytes.checked_mul(rows).ok_or_else(|| Error::internal("batch is too large"))?;
        Ok((shape, vec![0; bytes].into()))
    }
}

impl Instance for IdentityInstance {
    fn execute(&mut self, batch: &Batch<'_>) -> Result<Execution> {
        let inputs_ready = Timestamp::now();
        if self.delay.as_ref().is_some_and(|delay| !delay.wait()) {
            return Err(Error::new(ErrorCode::Cancelled, "execution was stopped"));
        }
        let mut outputs = Vec::with_capacity(self.pairs.len());
        for pair in self.pairs.iter().filter(|pair| batch.wants(pair.output)) {
            outputs.extend(self.output(pair, batch)?);
        }
        let parameters = self.parameters.clone();
        Ok(Execution { outputs, parameters, inputs_ready, compute_done: Timestamp::now() })
    }

    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        let delay = self.delay.clone()?;
        Some(delay)
    }
}

/// One input of all requests; `None` where they leave it out.
fn gather(input: usize, batch: &Batch<'_>) -> Result<Option<(Shape, Bytes)>> {
    if let [request] = batch.requests() {
        return Ok(request.input(input).map(|input| (input.shape.clone(), input.data.clone())));
    }
    let size = batch.requests().iter().filter_map(|request| request.input(input)).map(|i| i.data.len()).sum();
    let mut buffer = Vec::with_capacity(size);
    let Some(gathered) = concat(batch, input, &mut buffer)? else { return Ok(None) };
    let shape = gathered.shape;
    Ok(Some((shape, buffer.into())))
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
