//! Whether a config fits the graph it is for. Order of checks and texts are those of Triton's backend
//! (`ValidateInputs`, `ValidateOutputs`, `CompareDimsSupported`). Reads nothing, runs nothing.

use nereid_core::config::{BatchInput, InputConfig};
use nereid_core::shape::Dims;
use nereid_core::{DataType, Error, ModelConfig, Result};

use crate::datatype::onnx_name;
use crate::graph::{Graph, TensorInfo};

/// Checks the controls of sequences, then inputs, then outputs, then states, each in the order of the config.
///
/// # Errors
/// `InvalidArg` for the first thing that does not fit.
pub(crate) fn fits(config: &ModelConfig, graph: &Graph) -> Result<()> {
    let check = Check { config, model: &config.name };
    check.controls(graph)?;
    check.inputs(graph)?;
    check.outputs(graph)?;
    check.states(graph)
}

struct Check<'a> {
    config: &'a ModelConfig,
    model: &'a str,
}

/// How strictly a config's dims are held against the graph's.
#[derive(Clone, Copy, PartialEq)]
enum Compare {
    /// The config may fix a size that the graph leaves open.
    Narrower,
    Exact,
}

impl Check<'_> {
    fn unable(&self, what: impl std::fmt::Display) -> Error {
        Error::invalid_arg(format!("unable to load model '{}', {what}", self.model))
    }

    fn inputs(&self, graph: &Graph) -> Result<()> {
        let required = self.config.all_inputs().filter(|input| !input.optional).count();
        // Triton counts a batch input once, however many targets it has, and so refuses more than one.
        let made: usize = self.config.batch_inputs.iter().map(|input| input.targets.len()).sum();
        let expected = required + made;
        if expected != graph.inputs.len() {
            return Err(self.unable(format_args!(
                "configuration expects {expected} inputs, model provides {}",
                graph.inputs.len()
            )));
        }
        self.config.inputs.iter().try_for_each(|input| self.input(input, graph))?;
        self.config.batch_inputs.iter().try_for_each(|input| self.batch_input(input, graph))
    }

    /// The inputs that tell the model where a sequence stands (`ValidateBooleanSequenceControl` and
    /// `ValidateTypedSequenceControl`).
    fn controls(&self, graph: &Graph) -> Result<()> {
        let count = self.config.sequence().map_or(0, |batching| batching.controls.len());
        for control in self.config.injected_inputs.iter().take(count) {
            let name = &*control.name;
            let tensor = graph.inputs.iter().find(|tensor| tensor.name() == name).ok_or_else(|| {
                Error::internal(format!(
                    "configuration specified sequence control '{name}', but model does not provide that input"
                ))
            })?;
            let dims = tensor.dims().get(usize::from(self.config.batches())..).unwrap_or(&[]);
            if dims != [1] {
                return Err(self.unable(format_args!(
                    "sequence control '{name}' in model has dims {} but dims [1] is expected",
                    Dims(dims)
                )));
            }
            if tensor.datatype != Some(control.datatype) {
                return Err(self.unable(format_args!(
                    "sequence control '{name}', the model expects data-type {} but the model configuration specifies \
                     data-type {}",
                    tensor.datatype.map_or("UNDEFINED", onnx_name),
                    control.datatype.config_name()
                )));
            }
        }
        Ok(())
    }

    /// What is carried from one request of a sequence to the next. Triton finds out when the model runs; of the dims,
    /// so does this, because a state may have other ones than its first value.
    fn states(&self, graph: &Graph) -> Result<()> {
        let controls = self.config.sequence().map_or(0, |batching| batching.controls.len());
        for input in self.config.injected_inputs.iter().skip(controls) {
            let allowed = || graph.inputs.iter().chain(&graph.initializers);
            let tensor =
                graph.input(&input.name).ok_or_else(|| unexpected("input", &input.name, allowed()))?;
            self.datatype("input state", &input.name, input.datatype, tensor)?;
        }
        for output in &self.config.hidden_outputs {
            let allowed = graph.outputs.iter();
            let tensor =
                graph.output(&output.name).ok_or_else(|| unexpected("output", &output.name, allowed))?;
            self.datatype("output state", &output.name, output.datatype, tensor)?;
        }
        Ok(())
    }

    fn input(&self, input: &InputConfig, graph: &Graph) -> Result<()> {
        let name = &*input.name;
        if input.optional && self.config.batches() {
            return Err(self.unable(format_args!(
                "optional input '{name}' is not supported for models that support batching"
            )));
        }
        let tensor = graph_input(graph, name)?;
        self.datatype("input", name, input.datatype, tensor)?;
        if input.optional && input.allow_ragged_batch {
            return Err(self.unable(format_args!(
                "configuration expects model provides input with shape [-1] for ragged input '{name}', which is not \
                 supported for optional input"
            )));
        }
        if input.allow_ragged_batch {
            return self.ragged(name, tensor);
        }
        self.dims(name, tensor, input.reshape.as_ref().unwrap_or(&input.dims), Compare::Narrower)
    }

    fn ragged(&self, name: &str, tensor: &TensorInfo) -> Result<()> {
        if tensor.dims() == [-1] {
            return Ok(());
        }
        Err(self.unable(format_args!(
            "configuration expects model provides input with shape [-1]  for ragged input '{name}', model provides {}",
            Dims(tensor.dims())
        )))
    }

    /// Triton leaves this to the first run.
    fn batch_input(&self, input: &BatchInput, graph: &Graph) -> Result<()> {
        input.targets.iter().try_for_each(|name| {
            self.datatype("input", name, input.element.datatype(), graph_input(graph, name)?)
        })
    }

    fn outputs(&self, graph: &Graph) -> Result<()> {
        for (index, output) in self.config.outputs.iter().enumerate() {
            let name = &*output.name;
            let tensor =
                graph.output(name).ok_or_else(|| unexpected("output", name, graph.outputs.iter()))?;
            self.datatype("output", name, output.datatype, tensor)?;
            // A scattered output gets its shape from an input, whatever the model's is.
            if self.config.batch_output(index).is_none() {
                self.dims(name, tensor, output.reshape.as_ref().unwrap_or(&output.dims), Compare::Exact)?;
            }
        }
        Ok(())
    }

    fn datatype(&self, what: &str, name: &str, expected: DataType, tensor: &TensorInfo) -> Result<()> {
        if tensor.datatype == Some(expected) {
            return Ok(());
        }
        // Triton prints the protocol's name here, so that a string is TYPE_BYTES.
        let provided = tensor.datatype.map_or("<invalid>", DataType::protocol_name);
        Err(self.unable(format_args!(
            "configuration expects datatype {} for {what} '{name}', model provides TYPE_{provided}",
            expected.config_name(),
        )))
    }

    fn dims(&self, name: &str, tensor: &TensorInfo, dims: &[i64], compare: Compare) -> Result<()> {
        let Some(shape) = &tensor.shape else { return Ok(()) }; // the graph promises nothing
        if shape.is_empty() {
            return self.scalar(name, dims);
        }
        let model = self.model;
        let fits = |dims: &[i64]| {
            shape.len() == dims.len()
                && shape.iter().zip(dims).all(|(m, d)| m == d || (compare == Compare::Narrower && *m == -1))
        };
        if !self.config.batches() {
            if fits(dims) {
                return Ok(());
            }
            return Err(Error::invalid_arg(format!(
                "model '{model}', tensor '{name}': the model expects {} dimensions (shape {}) but the model \
                 configuration specifies {} dimensions (shape {})",
                shape.len(),
                Dims(shape),
                dims.len(),
                Dims(dims)
            )));
        }
        if shape[0] != -1 {
            return Err(self.cannot_batch(name, shape));
        }
        let full = [&[-1], dims].concat();
        if fits(&full) {
            return Ok(());
        }
        Err(Error::invalid_arg(format!(
            "model '{model}', tensor '{name}': the model expects {} dimensions (shape {}) but the model configuration \
             specifies {} dimensions (an initial batch dimension because max_batch_size > 0 followed by the explicit \
             tensor shape, making complete shape {})",
            shape.len(),
            Dims(shape),
            full.len(),
            Dims(&full)
        )))
    }

    /// Triton lets a scalar pass where the model batches, and then all rows share the first row's value.
    fn scalar(&self, name: &str, dims: &[i64]) -> Result<()> {
        if dims.iter().any(|dim| *dim != 1) {
            return Err(self.unable(format_args!(
                "scalar tensor '{name}', should only provide 1 in the model configuration when the model doesn't \
                 support batching. Model configuration provided: {}.",
                Dims(dims)
            )));
        }
        if self.config.batches() { Err(self.cannot_batch(name, &[])) } else { Ok(()) }
    }

    fn cannot_batch(&self, name: &str, shape: &[i64]) -> Error {
        Error::invalid_arg(format!(
            "model '{}', tensor '{name}': for the model to support batching the shape should have at least 1 \
             dimension and the first dimension must be -1; but shape expected by the model is {}",
            self.model,
            Dims(shape)
        ))
    }
}

fn graph_input<'a>(graph: &'a Graph, name: &str) -> Result<&'a TensorInfo> {
    let allowed = || graph.inputs.iter().chain(&graph.initializers);
    graph.input(name).ok_or_else(|| unexpected("input", name, allowed()))
}

fn unexpected<'a>(what: &str, name: &str, allowed: impl Iterator<Item = &'a TensorInfo>) -> Error {
    let mut allowed: Vec<String> = allowed.map(TensorInfo::name).collect();
    allowed.sort_unstable();
    Error::invalid_arg(format!(
        "unexpected inference {what} '{name}', allowed {what}s are: {}",
        allowed.join(", ")
    ))
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
