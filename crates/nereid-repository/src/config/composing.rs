//! Whether an ensemble and the models that it is made of agree about their tensors (`ValidateEnsembleConfig` in Triton's
//! ensemble_utils.cc), with its texts. Needs the completed configs of the models, so that it comes after they were loaded.

use std::collections::BTreeMap;

use nereid_core::shape::Dims;
use nereid_core::{Error, Result};
use nereid_protocol::inference::{DataType, ModelConfig, ModelTensorReshape, model_ensembling::Step};

use super::ensemble;
use crate::ModelId;

/// Refuses `config`, the ensemble `id`, if it does not fit its models. `models` are the configs of its steps, whose
/// namespaces are known.
///
/// # Errors
/// InvalidArg with Triton's text.
pub(crate) fn validate(id: &ModelId, config: &ModelConfig, models: &[&ModelConfig]) -> Result<()> {
    let Some(ensemble) = ensemble::of(config) else { return Ok(()) };
    let batches = config.max_batch_size > 0;
    let mut tensors = BTreeMap::new();
    let inputs =
        config.input.iter().map(|input| (&input.name, input.data_type(), &input.dims, &input.reshape));
    let outputs =
        config.output.iter().map(|output| (&output.name, output.data_type(), &output.dims, &output.reshape));
    for (name, datatype, dims, reshape) in inputs.chain(outputs) {
        let tensor = Tensor::new(id, batches, datatype, reshaped(dims, reshape));
        tensors.entry(name.as_str()).or_insert(tensor);
    }
    for (step, model) in ensemble.step.iter().zip(models) {
        if model.max_batch_size != 0 && model.max_batch_size < config.max_batch_size {
            return invalid(format!(
                "ensemble {id} allows maximum batch size {}, but it contains model {} which only allows maximum batch \
                 size to be {}",
                config.max_batch_size, step.model_name, model.max_batch_size
            ));
        }
        let step_id = ModelId {
            namespace: step.model_namespace.as_str().into(),
            name: step.model_name.as_str().into(),
        };
        Mapped { ensemble: id, step, step_id, model }.check(&mut tensors)?;
    }
    Ok(())
}

/// A tensor of the ensemble, as the first that mentions it has it.
struct Tensor {
    /// Where that was.
    model: ModelId,
    datatype: DataType,
    dims: Vec<i64>,
    /// With the batch dimension, if that model batches.
    full: Vec<i64>,
}

impl Tensor {
    fn new(model: &ModelId, batches: bool, datatype: DataType, dims: &[i64]) -> Self {
        let full = batches.then_some(-1).into_iter().chain(dims.iter().copied()).collect();
        Self { model: model.clone(), datatype, dims: dims.to_owned(), full }
    }
}

/// A step and its model.
struct Mapped<'a> {
    ensemble: &'a ModelId,
    step: &'a Step,
    step_id: ModelId,
    model: &'a ModelConfig,
}

impl<'a> Mapped<'a> {
    fn check(&self, tensors: &mut BTreeMap<&'a str, Tensor>) -> Result<()> {
        let Self { ensemble, step, step_id, model } = self;
        for (input, tensor) in &step.input_map {
            if !model.input.iter().any(|known| known.name == *input) {
                return invalid(format!(
                    "in ensemble {ensemble}, ensemble tensor {tensor} is mapping to non-existing input {input} in model \
                     {step_id}"
                ));
            }
        }
        for input in &model.input {
            match step.input_map.get(&input.name) {
                Some(tensor) => self.agree(tensors, tensor, input.data_type(), &input.dims)?,
                None if input.optional => {}
                None => {
                    return invalid(format!(
                        "in ensemble {ensemble}, input {} in model {step_id} is not mapped to any ensemble tensors",
                        input.name
                    ));
                }
            }
        }
        for (output, tensor) in &step.output_map {
            if !model.output.iter().any(|known| known.name == *output) {
                return invalid(format!(
                    "in ensemble {ensemble}, ensemble tensor {tensor} is mapped from non-existing output {output} in \
                     model {}",
                    step.model_name
                ));
            }
        }
        for (output, tensor) in &step.output_map {
            if let Some(known) = model.output.iter().find(|known| known.name == *output) {
                self.agree(tensors, tensor, known.data_type(), &known.dims)?;
            }
        }
        Ok(())
    }

    /// Compares a tensor of the model with what is known of it, or makes it known. Shapes that vary are compared when a
    /// request runs. A model that does not batch may take or give `[-1, d…]` where others have batches of `[d…]`.
    fn agree(
        &self,
        tensors: &mut BTreeMap<&'a str, Tensor>,
        name: &'a str,
        datatype: DataType,
        dims: &[i64],
    ) -> Result<()> {
        let here = Tensor::new(&self.step_id, self.model.max_batch_size > 0, datatype, dims);
        let Some(known) = tensors.get(name) else {
            tensors.insert(name, here);
            return Ok(());
        };
        let differ = |what: &str, known_is: &str, here_is: &str| {
            invalid(format!(
                "in ensemble {}, ensemble tensor {name}: inconsistent {what}: {known_is} is inferred from model {} while \
                 {here_is} is inferred from model {}",
                self.ensemble, known.model, here.model
            ))
        };
        if known.datatype != here.datatype {
            return differ("data type", known.datatype.as_str_name(), here.datatype.as_str_name());
        }
        if !alike(&known.dims, &here.dims) && !alike(&known.full, &here.full) {
            let (known_is, here_is) = (Dims(&known.full).to_string(), Dims(&here.full).to_string());
            return differ("shape", &known_is, &here_is);
        }
        Ok(())
    }
}

fn reshaped<'a>(dims: &'a [i64], reshape: &'a Option<ModelTensorReshape>) -> &'a [i64] {
    reshape.as_ref().map_or(dims, |reshape| &reshape.shape)
}

/// Whether shapes are the same, as far as they are fixed.
fn alike(a: &[i64], b: &[i64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || *a == -1 || *b == -1)
}

fn invalid(message: impl Into<String>) -> Result<()> {
    Err(Error::invalid_arg(message))
}

#[cfg(test)]
#[path = "composing_tests.rs"]
mod tests;
