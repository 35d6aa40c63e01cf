//! What an execution needs to know about each tensor, worked out once at load: names as C strings, types,
//! and which output sizes follow from the batch size alone.

use std::ffi::CString;
use std::sync::Arc;

use nereid_core::config::{BatchInput, OutputConfig};
use nereid_core::shape::{Dims, element_count, reshape};
use nereid_core::{DataType, Error, ModelConfig, Result, Shape};
use ort::sys::ONNXTensorElementDataType;

use crate::check;
use crate::datatype::element_type;
use crate::graph::{Graph, TensorInfo};

/// Inputs in the order of the config, outputs in the order of their names: that is how Triton's backend
/// walks them, and so how responses list them.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) inputs: Vec<InputPlan>,
    /// Inputs that are made for each batch, behind the others.
    pub(crate) batch_inputs: Vec<BatchInputPlan>,
    pub(crate) outputs: Vec<OutputPlan>,
    /// Libraries of the model's own may bring operators.
    pub(crate) custom_operators: bool,
}

#[derive(Debug)]
pub(crate) struct InputPlan {
    /// Position in the config's inputs, then in those that the scheduler adds.
    pub(crate) index: usize,
    pub(crate) name: CString,
    pub(crate) datatype: DataType,
    pub(crate) element: ONNXTensorElementDataType,
    /// The graph wants rank 0, whatever the config says.
    pub(crate) scalar: bool,
}

#[derive(Debug)]
pub(crate) struct BatchInputPlan {
    /// Position in the config's batch inputs.
    pub(crate) index: usize,
    /// The inputs of the graph that get it.
    pub(crate) targets: Vec<CString>,
    pub(crate) element: ONNXTensorElementDataType,
}

#[derive(Debug)]
pub(crate) struct OutputPlan {
    /// Position in the config's outputs, then in those that the scheduler takes.
    pub(crate) index: usize,
    pub(crate) name: CString,
    pub(crate) shown_name: Arc<str>,
    pub(crate) datatype: DataType,
    pub(crate) element: ONNXTensorElementDataType,
    /// The size is known before the run, given the batch size.
    pub(crate) fixed: Option<Fixed>,
    /// The tensor has a batch dimension.
    batched: bool,
    /// Dims that clients see, without the batch dimension, where they differ from the graph's.
    shown: Option<Shown>,
}

/// An output whose size varies with the batch alone.
#[derive(Debug)]
pub(crate) struct Fixed {
    /// Shape that the graph gives; the first number is replaced by the batch size if it batches.
    pub(crate) shape: Shape,
    /// Bytes of one row, or of the whole tensor.
    pub(crate) row_bytes: usize,
}

#[derive(Debug)]
struct Shown {
    /// The graph's dims as the config has them; empty for a scalar.
    from: Vec<i64>,
    to: Vec<i64>,
}

impl Plan {
    /// The plan for the model of `config`.
    ///
    /// # Errors
    /// The config does not fit the graph; see [`check::fits`].
    pub(crate) fn new(config: &ModelConfig, graph: &Graph) -> Result<Self> {
        check::fits(config, graph)?;
        let missing = || Error::internal("a tensor vanished between check and plan");
        let mut inputs = Vec::with_capacity(config.all_inputs().count());
        for (index, input) in config.all_inputs().enumerate() {
            let tensor = graph.input(&input.name).ok_or_else(missing)?;
            inputs.push(InputPlan {
                index,
                name: tensor.name.clone(),
                datatype: input.datatype,
                element: element_type(input.datatype),
                scalar: tensor.is_scalar(),
            });
        }
        let batch_inputs = batch_inputs(config, graph).ok_or_else(missing)?;
        let mut outputs = Vec::with_capacity(config.all_outputs().count());
        for (index, output) in config.all_outputs().enumerate() {
            let tensor = graph.output(&output.name).ok_or_else(missing)?;
            let scalar = tensor.is_scalar();
            // An output that is an input at the same time is not written by the run but passed on.
            let passed_on = graph.input(&output.name).is_some();
            // What is scattered has the model's own shape until it is split.
            let scattered = config.batch_output(index).is_some();
            let promised = tensor.shape.is_some() && !passed_on && !scattered;
            // The dims of a state are those of its first value, not a promise.
            let hidden = index >= config.outputs.len();
            let promised = promised && (!hidden || is_exactly(tensor, &output.dims, config.batches()));
            outputs.push(OutputPlan {
                index,
                name: tensor.name.clone(),
                shown_name: output.name.clone(),
                datatype: output.datatype,
                element: element_type(output.datatype),
                fixed: if promised { fixed(output, config.batches(), scalar) } else { None },
                batched: config.batches(),
                shown: if scattered { None } else { shown(output, scalar) },
            });
        }
        outputs.sort_by(|a, b| a.shown_name.cmp(&b.shown_name));
        Ok(Self { inputs, batch_inputs, outputs, custom_operators: !config.op_libraries.is_empty() })
    }
}

impl OutputPlan {
    /// Whether the first dimension is the batch.
    pub(crate) fn is_batched(&self) -> bool {
        self.batched
    }

    /// The shape that clients see for an output of shape `actual`: Triton's `Output::Reshape`, and for a
    /// scalar the config's dims.
    ///
    /// # Errors
    /// `Internal` if the graph gave another rank than the config's `reshape` has.
    pub(crate) fn shown_shape(&self, actual: &[i64]) -> Result<Shape> {
        let Some(Shown { from, to }) = &self.shown else { return Ok(Shape::from_slice(actual)) };
        let batch_dims = usize::from(self.batched);
        if actual.len().saturating_sub(batch_dims) != from.len() {
            return Err(Error::internal(format!(
                "output '{}' has shape {}, which cannot be reshaped from {} to {}",
                self.shown_name,
                Dims(actual),
                Dims(from),
                Dims(to)
            )));
        }
        Ok(reshape(actual, batch_dims, from, to))
    }
}

/// `None` if the graph lacks a target.
fn batch_inputs(config: &ModelConfig, graph: &Graph) -> Option<Vec<BatchInputPlan>> {
    let plan = |(index, input): (usize, &BatchInput)| {
        let targets = input.targets.iter().map(|name| Some(graph.input(name)?.name.clone()));
        let (targets, element) = (targets.collect::<Option<_>>()?, element_type(input.element.datatype()));
        Some(BatchInputPlan { index, targets, element })
    };
    config.batch_inputs.iter().enumerate().map(plan).collect()
}

/// Whether the graph declares just `dims`, behind the batch dimension.
fn is_exactly(tensor: &TensorInfo, dims: &[i64], batches: bool) -> bool {
    tensor.dims().get(usize::from(batches)..) == Some(dims)
}

fn fixed(output: &OutputConfig, batches: bool, scalar: bool) -> Option<Fixed> {
    let dims: &[i64] = if scalar { &[] } else { output.reshape.as_ref().unwrap_or(&output.dims) };
    let row_bytes = element_count(dims)?.checked_mul(output.datatype.size_bytes()?)?;
    let mut shape = Shape::new();
    if batches {
        shape.push(0);
    }
    shape.extend_from_slice(dims);
    Some(Fixed { shape, row_bytes })
}

fn shown(output: &OutputConfig, scalar: bool) -> Option<Shown> {
    let from = if scalar { Vec::new() } else { output.reshape.clone()? };
    Some(Shown { from, to: output.dims.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(dims: &[i64], reshape: Option<&[i64]>, graph_shape: &[i64], max_batch_size: u32) -> OutputPlan {
        let output = OutputConfig {
            name: "y".into(),
            datatype: DataType::Fp16,
            dims: dims.to_vec(),
            reshape: reshape.map(<[i64]>::to_vec),
            form: Default::default(),
        };
        let config = ModelConfig { max_batch_size, outputs: vec![output], ..Default::default() };
        let tensor = TensorInfo {
            name: c"y".into(),
            datatype: Some(DataType::Fp16),
            shape: Some(graph_shape.to_vec()),
        };
        let graph = Graph { outputs: vec![tensor], ..Default::default() };
        Plan::new(&config, &graph).unwrap().outputs.remove(0)
    }

    #[test]
    fn sizes_known_before_the_run() {
        let bytes = |plan: OutputPlan| plan.fixed.map(|fixed| (fixed.shape.to_vec(), fixed.row_bytes));
        assert_eq!(bytes(plan(&[3, 5], None, &[-1, 3, 5], 8)), Some((vec![0, 3, 5], 30)));
        assert_eq!(bytes(plan(&[3, 5], None, &[3, 5], 0)), Some((vec![3, 5], 30)));
        assert_eq!(bytes(plan(&[1], Some(&[]), &[-1], 8)), Some((vec![0], 2)));
        assert_eq!(bytes(plan(&[1], None, &[], 0)), Some((vec![], 2)));
        assert_eq!(bytes(plan(&[-1, 5], None, &[-1, -1, 5], 8)), None);
    }

    #[test]
    fn shapes_that_clients_see() {
        let shown = |plan: OutputPlan, actual: &[i64]| plan.shown_shape(actual).map(|shape| shape.to_vec());
        assert_eq!(shown(plan(&[5], None, &[-1, 5], 8), &[2, 5]), Ok(vec![2, 5]));
        assert_eq!(shown(plan(&[1], Some(&[]), &[-1], 8), &[2]), Ok(vec![2, 1]));
        assert_eq!(shown(plan(&[2, -1, 3, -1], Some(&[-1, 6, -1]), &[-1, -1, 6, -1], 8), &[9, 4, 6, 5]), {
            Ok(vec![9, 2, 4, 3, 5])
        });
        assert_eq!(shown(plan(&[1, 1], None, &[], 0), &[]), Ok(vec![1, 1]));
        let error = shown(plan(&[6], Some(&[2, 3]), &[-1, 2, 3], 8), &[2, 6]).unwrap_err();
        assert_eq!(error.message(), "output 'y' has shape [2,6], which cannot be reshaped from [2,3] to [6]");
    }
}
