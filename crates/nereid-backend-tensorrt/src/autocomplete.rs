//! What an engine says about batching and about its inputs and outputs, for a config that leaves them out. Rules and
//! texts are those of `AutoCompleteConfigHelper` in Triton's backend; tensors come in the engine's order.

use std::collections::BTreeSet;

use nereid_core::backend::{AutoComplete, AutoCompleteRequest, DeclaredTensor, TensorSpec};
use nereid_core::config::TensorForm;
use nereid_core::{Error, Result};
use nereid_tensorrt::{TensorInfo, TensorMode};

use crate::check::unexpected;
use crate::datatype;
use crate::engine_info::{EngineInfo, is_linear};
use crate::profiles::index_of;

/// Completes the config of `request`, whose first instance group is on a GPU, from `engine`.
///
/// # Errors
/// With Triton's texts: the config contradicts the engine or itself.
pub(crate) fn complete(request: &AutoCompleteRequest<'_>, engine: EngineInfo<'_>) -> Result<AutoComplete> {
    let model = request.model;
    let hint = Hint::of(request, engine)?;
    let mut largest = max_batch_size(request, engine)?;
    if hint.batches && largest == 0 {
        return Err(Error::internal(format!(
            "autofill failed for model '{model}': model tensor shape configuration hints for dynamic batching but the \
             underlying engine doesn't support batching."
        )));
    }
    if hint.shapes && !hint.batches {
        tracing::warn!(
            "The specified dimensions in model config for {model} hints that batching is unavailable"
        );
        largest = 0;
    }
    if request.max_batch_size > largest {
        return Err(Error::internal(format!(
            "autofill failed for model '{model}': configuration specified max-batch {} but TensorRT engine only \
             supports max-batch {largest}",
            request.max_batch_size
        )));
    }
    let batches = request.max_batch_size != 0 || largest != 0;
    let inputs = specs(TensorMode::Input, &request.inputs, engine, batches, model)?;
    let outputs = specs(TensorMode::Output, &request.outputs, engine, batches, model)?;
    Ok(AutoComplete {
        max_batch_size: (request.max_batch_size == 0 && largest != 0).then_some(largest),
        inputs: Some(inputs),
        outputs: Some(outputs),
        // By what the engine can, whatever the config makes of it.
        dynamic_batching: largest > 1 && !request.has_scheduler,
    })
}

/// What the shapes in a config say about batching.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Hint {
    /// The engine has a dimension more than the config.
    batches: bool,
    /// There are any.
    shapes: bool,
}

impl Hint {
    fn of(request: &AutoCompleteRequest<'_>, engine: EngineInfo<'_>) -> Result<Self> {
        let mut hint = Self::default();
        let inputs = request.inputs.iter().map(|tensor| (TensorMode::Input, tensor));
        let outputs = request.outputs.iter().map(|tensor| (TensorMode::Output, tensor));
        for (mode, declared) in inputs.chain(outputs) {
            if declared.allow_ragged_batch {
                hint.batches = true;
                break; // Triton looks no further
            }
            let dims = declared.reshape.unwrap_or(declared.dims);
            hint.shapes |= !dims.is_empty();
            let tensor = engine
                .tensor(declared.name)
                .filter(|tensor| tensor.mode == mode)
                .ok_or_else(|| unexpected(mode, declared.name, engine))?;
            if !dims.is_empty() {
                hint.add(tensor, dims, request.model)?;
            }
        }
        Ok(hint)
    }

    fn add(&mut self, tensor: &TensorInfo, dims: &[i64], model: &str) -> Result<()> {
        let batches = if tensor.is_shape_io {
            // Of a shape tensor the batch is one more value.
            tensor.shape.first() == dims.first().and_then(|first| first.checked_add(1)).as_ref()
        } else {
            tensor.shape.len() == dims.len() + 1
        };
        self.batches |= batches;
        if self.batches && !batches {
            return Err(Error::internal(format!(
                "unable to autofill for '{model}', model tensor configurations are contradicting each other in terms \
                 of whether batching is supported"
            )));
        }
        Ok(())
    }
}

/// The largest batch of any profile that the config chooses; the first one if it chooses none.
fn max_batch_size(request: &AutoCompleteRequest<'_>, engine: EngineInfo<'_>) -> Result<u32> {
    let mut profiles = BTreeSet::new();
    for name in request.groups.iter().flat_map(|group| &group.profiles) {
        let count = engine.profiles.len();
        let index = usize::try_from(index_of(name)?).ok().filter(|index| *index < count);
        profiles.insert(index.ok_or_else(|| {
            Error::internal(format!(
                "unable to autofill for '{}', configuration specified invalid profile {name} . Number of profiles \
                 supported by TensorRT engine: {count}",
                request.model
            ))
        })?);
    }
    if profiles.is_empty() {
        profiles.insert(0);
    }
    let largest = profiles.into_iter().filter_map(|index| largest_batch(engine, index)).max();
    Ok(largest.map_or(0, |largest| u32::try_from(largest.clamp(0, i32::MAX.into())).unwrap_or(0)))
}

/// The most rows that every input takes under profile `index`, if its first dimension is the batch.
fn largest_batch(engine: EngineInfo<'_>, index: usize) -> Option<i64> {
    let rows = |tensor: &TensorInfo| {
        let input = engine.profile_input(index, &tensor.name)?;
        let dims = match &input.values {
            Some([_, _, max]) if tensor.is_shape_io => max,
            _ => &input.max,
        };
        Some(dims.first().copied().unwrap_or(0))
    };
    engine.inputs().filter_map(rows).min()
}

/// Tensors of one side as a config would declare them: those that it declares already, or all if it declares none.
fn specs(
    mode: TensorMode,
    declared: &[DeclaredTensor<'_>],
    engine: EngineInfo<'_>,
    batches: bool,
    model: &str,
) -> Result<Vec<TensorSpec>> {
    if declared.is_empty() {
        let tensors = engine.tensors.iter().filter(|tensor| tensor.mode == mode);
        return tensors.map(|tensor| spec(tensor, batches, model)).collect();
    }
    let mut specs = Vec::new();
    for declared in declared {
        let Some(tensor) = engine.tensor(declared.name).filter(|tensor| tensor.mode == mode) else {
            continue;
        };
        if declared.is_shape_tensor && !tensor.is_shape_io {
            return Err(Error::invalid_arg(format!(
                "'{}' is incorrectly specified as a shape tensor.",
                declared.name
            )));
        }
        if declared.is_non_linear && is_linear(tensor) {
            return Err(Error::invalid_arg(format!(
                "'{}' uses a linear IO format, but 'is_non_linear_format_io' is incorrectly set to true in the model \
                 configuration.",
                declared.name
            )));
        }
        // A type that a config cannot name is refused at load where the config names another one.
        if declared.datatype.is_none() || datatype::of_engine(tensor.datatype).is_some() {
            specs.push(spec(tensor, batches, model)?);
        }
    }
    Ok(specs)
}

fn spec(tensor: &TensorInfo, batches: bool, model: &str) -> Result<TensorSpec> {
    let datatype = datatype::of_engine(tensor.datatype).ok_or_else(|| {
        // Begins with what Triton's core says about the TYPE_INVALID that its backend writes.
        Error::invalid_arg(format!(
            "model {} '{}' must specify 'data_type' for {model}: the engine has it in TensorRT's type {}, which a model \
             configuration cannot name",
            side(tensor.mode),
            tensor.name,
            tensor.datatype
        ))
    })?;
    let mut reshape = None;
    let dims = if tensor.is_shape_io {
        let values = |count: i64| if batches && count > 0 { count - 1 } else { count };
        tensor.shape.first().map(|count| values(*count)).into_iter().collect()
    } else {
        let mut dims = tensor.shape.get(usize::from(batches)..).unwrap_or(&[]).to_vec();
        if dims.is_empty() {
            dims.push(1);
            reshape = Some(Vec::new());
        }
        dims
    };
    let form = match (tensor.is_shape_io, is_linear(tensor)) {
        (true, _) => TensorForm::Shape,
        (false, false) => TensorForm::NonLinear,
        (false, true) => TensorForm::Linear,
    };
    Ok(TensorSpec { name: tensor.name.clone(), datatype, dims, reshape, form })
}

/// What messages call tensors of `mode`.
pub(crate) fn side(mode: TensorMode) -> &'static str {
    match mode {
        TensorMode::Input => "input",
        TensorMode::Output => "output",
    }
}

#[cfg(test)]
#[path = "autocomplete_tests.rs"]
mod tests;
