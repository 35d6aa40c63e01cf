//! What an execution needs to know about each tensor, worked out once when an instance is made: where
//! an input comes from and an output goes, and how large things are.

use std::sync::Arc;

use nereid_core::config::OutputConfig;
use nereid_core::shape::{Dims, element_count, reshape};
use nereid_core::{DataType, Error, ModelConfig, Result, Shape};
use nereid_tensorrt::{TensorInfo, TensorLocation};

use crate::engine_info::EngineInfo;
use crate::layout::Layout;
use crate::profiles::{Chosen, Range};
use crate::shapes::{declared_dims, full_dims};
use crate::{check, datatype, profiles, shapes};

/// Everything that one instance knows of its engine. Inputs and outputs are in the engine's order, which is how Triton's
/// responses list them, too.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) inputs: Vec<InputPlan>,
    pub(crate) outputs: Vec<OutputPlan>,
    /// At least one, by ascending number.
    pub(crate) profiles: Vec<Chosen>,
    /// What each input can be, by the position in `profiles` and in `inputs`.
    pub(crate) ranges: Vec<Vec<Range>>,
    /// The first dimension of tensors is the batch.
    pub(crate) batches: bool,
}

/// What is the same for inputs and outputs.
#[derive(Debug, Clone)]
pub(crate) struct TensorPlan {
    /// Among the engine's tensors, by which an execution names it.
    pub(crate) position: usize,
    pub(crate) shown_name: Arc<str>,
    pub(crate) datatype: DataType,
    /// Bytes of one element.
    pub(crate) element_size: usize,
    /// The engine's shape; -1 where it varies.
    pub(crate) shape: Vec<i64>,
    /// Its values say how large other tensors are.
    pub(crate) is_shape_tensor: bool,
    /// TensorRT wants its address in host memory.
    pub(crate) on_host: bool,
    /// Packed into vectors; `None`: row-major.
    pub(crate) layout: Option<Layout>,
}

#[derive(Debug, Clone)]
pub(crate) struct InputPlan {
    pub(crate) tensor: TensorPlan,
    pub(crate) source: Source,
    /// The requests' tensors follow one another in one dimension.
    pub(crate) ragged: bool,
}

/// Where an input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The requests: position in the config's inputs, then in those that the scheduler adds.
    Requests { index: usize },
    /// It is made for each batch: position in the config's batch inputs.
    Batch { index: usize },
}

#[derive(Debug, Clone)]
pub(crate) struct OutputPlan {
    pub(crate) tensor: TensorPlan,
    /// Position in the config's outputs, then in those that the scheduler takes.
    pub(crate) index: usize,
    /// Requests get their parts by the shape of an input, not by rows.
    pub(crate) scattered: bool,
    batched: bool,
    /// Dims that clients see, without the batch dimension, where they differ from the engine's.
    shown: Option<Shown>,
}

#[derive(Debug, Clone)]
struct Shown {
    /// The engine's dims as the config has them.
    from: Vec<i64>,
    to: Vec<i64>,
}

impl Plan {
    /// The plan for an instance with the profiles called `names`.
    ///
    /// # Errors
    /// A profile that is not there, or a config that does not fit the engine; see [`check::fits`].
    pub(crate) fn new(
        config: &ModelConfig,
        engine: EngineInfo<'_>,
        names: &[String],
        instance: &str,
    ) -> Result<Self> {
        let profiles = profiles::chosen(names, engine.profiles.len(), instance)?;
        check::fits(config, engine, &profiles, instance)?;
        let missing = || Error::internal("a tensor vanished between check and plan");
        let input = |tensor| InputPlan::new(tensor, config, engine).ok_or_else(missing);
        let inputs = engine.inputs().map(input).collect::<Result<Vec<_>>>()?;
        let output = |tensor| OutputPlan::new(tensor, config, engine).ok_or_else(missing);
        let outputs = engine.outputs().map(output).collect::<Result<Vec<_>>>()?;
        let ranges = |profile: &Chosen| {
            let range = |input: &InputPlan| input.range(profile, engine, config).ok_or_else(missing);
            inputs.iter().map(range).collect::<Result<Vec<_>>>()
        };
        let ranges = profiles.iter().map(ranges).collect::<Result<_>>()?;
        Ok(Self { inputs, outputs, profiles, ranges, batches: config.batches() })
    }

    /// Whether any tensor is a shape tensor.
    pub(crate) fn has_shape_tensors(&self) -> bool {
        let outputs = self.outputs.iter().map(|output| &output.tensor);
        self.inputs.iter().map(|input| &input.tensor).chain(outputs).any(|tensor| tensor.is_shape_tensor)
    }
}

impl TensorPlan {
    /// `None` if the tensor cannot be served.
    fn new(tensor: &TensorInfo, engine: EngineInfo<'_>) -> Option<Self> {
        let position = engine.tensors.iter().position(|known| known.name == tensor.name)?;
        let datatype = datatype::of_engine(tensor.datatype)?;
        Some(Self {
            position,
            shown_name: tensor.name.as_str().into(),
            datatype,
            element_size: datatype.size_bytes()?,
            shape: tensor.shape.clone(),
            is_shape_tensor: tensor.is_shape_io,
            on_host: tensor.location == TensorLocation::Host,
            layout: Layout::of(tensor),
        })
    }

    /// Whether its shape varies.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.shape.contains(&-1)
    }

    /// Bytes in memory of a tensor of this kind and `shape`; `None` if that is more than can be counted.
    pub(crate) fn byte_size(&self, shape: &[i64]) -> Option<usize> {
        let count = self.layout.map_or_else(|| element_count(shape), |layout| layout.element_count(shape));
        count?.checked_mul(self.element_size)
    }
}

impl InputPlan {
    fn new(tensor: &TensorInfo, config: &ModelConfig, engine: EngineInfo<'_>) -> Option<Self> {
        let name = &*tensor.name;
        let given = config.all_inputs().enumerate().find(|(_, input)| *input.name == *name);
        let is_target = |targets: &[Arc<str>]| targets.iter().any(|target| **target == *name);
        let made = || config.batch_inputs.iter().position(|input| is_target(&input.targets));
        let source = match given {
            Some((index, _)) => Source::Requests { index },
            None => Source::Batch { index: made()? },
        };
        let ragged = given.is_some_and(|(_, input)| input.allow_ragged_batch);
        Some(Self { tensor: TensorPlan::new(tensor, engine)?, source, ragged })
    }

    /// What it can be under `profile`, given what `config` fixes.
    fn range(&self, profile: &Chosen, engine: EngineInfo<'_>, config: &ModelConfig) -> Option<Range> {
        let range = profile.range(engine, &self.tensor.shown_name)?;
        if self.tensor.is_shape_tensor || self.ragged {
            return Some(range);
        }
        let rows = || config.batches().then_some(i64::from(config.max_batch_size));
        let (dims, most) = match self.source {
            Source::Batch { index } => {
                (shapes::batch_input_dims(config.batch_inputs.get(index)?, config), None)
            }
            Source::Requests { index } => {
                let input = config.all_inputs().nth(index)?;
                (declared_dims(&input.dims, input.reshape.as_deref()).to_vec(), rows())
            }
        };
        Some(range.within(&full_dims(&dims, config.batches()), most))
    }
}

impl OutputPlan {
    fn new(tensor: &TensorInfo, config: &ModelConfig, engine: EngineInfo<'_>) -> Option<Self> {
        let mut outputs = config.all_outputs().enumerate();
        let (index, output) = outputs.find(|(_, output)| *output.name == *tensor.name)?;
        let scattered = config.batch_output(index).is_some();
        Some(Self {
            tensor: TensorPlan::new(tensor, engine)?,
            index,
            scattered,
            batched: config.batches(),
            shown: if scattered { None } else { Shown::of(output) },
        })
    }

    /// The shape that clients see for an output of shape `actual`, both with the batch dimension.
    ///
    /// # Errors
    /// `Internal` if the engine gave another rank than the config's `reshape` has.
    pub(crate) fn shown_shape(&self, actual: &[i64]) -> Result<Shape> {
        let Some(Shown { from, to }) = &self.shown else { return Ok(Shape::from_slice(actual)) };
        let batch_dims = usize::from(self.batched);
        if actual.len().saturating_sub(batch_dims) != from.len() {
            return Err(Error::internal(format!(
                "output '{}' has shape {}, which cannot be reshaped from {} to {}",
                self.tensor.shown_name,
                Dims(actual),
                Dims(from),
                Dims(to)
            )));
        }
        Ok(reshape(actual, batch_dims, from, to))
    }
}

impl Shown {
    fn of(output: &OutputConfig) -> Option<Self> {
        Some(Self { from: output.reshape.clone()?, to: output.dims.clone() })
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
