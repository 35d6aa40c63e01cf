//! Whether a config fits the engine it is for, under the profiles of one instance. Order of checks and texts are those of
//! Triton's backend (`ValidateIO`, `InitIOBindingBuffers` and what they call). Asks the engine nothing, allocates nothing.

use std::collections::{BTreeSet, HashSet};

use nereid_core::config::{InputConfig, OutputConfig, TensorForm};
use nereid_core::shape::Dims;
use nereid_core::{DataType, Error, ModelConfig, Result};
use nereid_tensorrt::{TensorInfo, TensorMode};

use crate::autocomplete::side;
use crate::datatype;
use crate::engine_info::{EngineInfo, is_linear};
use crate::layout::Layout;
use crate::profiles::Chosen;
use crate::shapes::{
    Subject, batch_input_dims, compare, compare_values, declared_dims, full_dims, one_per_row,
};

/// Checks that `config` describes `engine` and can be served with `profiles` by the instance called `instance`.
///
/// # Errors
/// The first thing that does not fit: `InvalidArg` or `Internal`, as in Triton.
pub(crate) fn fits(
    config: &ModelConfig,
    engine: EngineInfo<'_>,
    profiles: &[Chosen],
    instance: &str,
) -> Result<()> {
    let mut check = Check { config, engine, profiles, instance, bound: HashSet::new() };
    check.listed()?;
    check.inputs()?;
    check.outputs()
}

/// The refusal of a tensor that the engine does not have on this side.
pub(crate) fn unexpected(mode: TensorMode, name: &str, engine: EngineInfo<'_>) -> Error {
    let of_mode = engine.tensors.iter().filter(|tensor| tensor.mode == mode);
    let allowed: BTreeSet<&str> = of_mode.map(|tensor| &*tensor.name).collect();
    let allowed: Vec<&str> = allowed.into_iter().collect();
    let side = side(mode);
    Error::invalid_arg(format!(
        "unexpected inference {side} '{name}', allowed {side}s are: {}",
        allowed.join(", ")
    ))
}

struct Check<'a> {
    config: &'a ModelConfig,
    engine: EngineInfo<'a>,
    profiles: &'a [Chosen],
    instance: &'a str,
    /// Tensors of the engine that have got something from the config so far.
    bound: HashSet<&'a str>,
}

/// What the config says that an input of the engine is.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Client,
    Ragged,
    Control,
    Batch,
    State,
}

impl<'a> Check<'a> {
    fn invalid<T>(&self, what: impl std::fmt::Display) -> Result<T> {
        Err(Error::invalid_arg(format!("{what} for {}", self.instance)))
    }

    fn model(&self) -> &'a str {
        &self.config.name
    }

    /// The tensors that the config lists are there and of the kind that it says.
    fn listed(&self) -> Result<()> {
        let (expected, most) = (self.config.inputs.len(), self.engine.inputs().count());
        if most < expected {
            return Err(Error::invalid_arg(format!(
                "unable to load model '{}', configuration expects {expected} inputs, model provides at most {most}",
                self.model()
            )));
        }
        let has = |mode, name: &str| match self.engine.tensor(name) {
            Some(tensor) if tensor.mode == mode => Ok(tensor),
            _ => Err(unexpected(mode, name, self.engine)),
        };
        self.config.inputs.iter().try_for_each(|input| has(TensorMode::Input, &input.name).map(drop))?;
        self.config.outputs.iter().try_for_each(|output| has(TensorMode::Output, &output.name).map(drop))?;
        for InputConfig { name, datatype, form, .. } in &self.config.inputs {
            self.form(has(TensorMode::Input, name)?, *datatype, *form)?;
        }
        for OutputConfig { name, datatype, form, .. } in &self.config.outputs {
            self.form(has(TensorMode::Output, name)?, *datatype, *form)?;
        }
        Ok(())
    }

    fn form(&self, tensor: &TensorInfo, datatype: DataType, form: TensorForm) -> Result<()> {
        let subject = format!("{} '{}' for model '{}'", side(tensor.mode), tensor.name, self.model());
        let internal = |what: &str| Err(Error::internal(format!("{subject} {what}")));
        if !datatype::is_known(datatype) {
            return Err(Error::internal(format!(
                "unsupported datatype {} for {subject}",
                datatype.config_name()
            )));
        }
        match (tensor.is_shape_io, form == TensorForm::Shape) {
            (true, false) => {
                return internal(
                    "is a shape tensor but the model configuration doesn't mark it as a shape tensor.",
                );
            }
            (false, true) => {
                return internal("is incorrectly marked as a shape tensor in the model configuration.");
            }
            _ => {}
        }
        match (!is_linear(tensor), form == TensorForm::NonLinear) {
            (true, false) if !tensor.is_shape_io => internal(
                "uses a non-linear IO format, but 'is_non_linear_format_io' is incorrectly set to false in the model \
                 configuration.",
            ),
            (false, true) => internal(
                "uses a linear IO format, but 'is_non_linear_format_io' is incorrectly set to true in the model \
                 configuration.",
            ),
            _ => Ok(()),
        }
    }

    /// Every input of the engine gets something, once, and it fits.
    fn inputs(&mut self) -> Result<()> {
        let (config, engine) = (self.config, self.engine);
        let is_shape = |name: &str| engine.tensor(name).is_some_and(|tensor| tensor.is_shape_io);
        for input in config.inputs.iter().filter(|input| is_shape(&input.name)) {
            self.shape_input(input)?;
        }
        for input in config.inputs.iter().filter(|input| !is_shape(&input.name)) {
            let role = if input.allow_ragged_batch { Role::Ragged } else { Role::Client };
            let dims = declared_dims(&input.dims, input.reshape.as_deref());
            self.input(&input.name, input.datatype, dims, role)?;
        }
        let controls = config.sequence().map_or(0, |batching| batching.controls.len());
        let (controls, states) = config.injected_inputs.split_at(controls.min(config.injected_inputs.len()));
        for control in controls {
            self.input(&control.name, control.datatype, &[1], Role::Control)?;
        }
        for input in &config.batch_inputs {
            let dims = batch_input_dims(input, config);
            for target in &input.targets {
                self.input(target, input.element.datatype(), &dims, Role::Batch)?;
            }
        }
        for state in states {
            self.input(&state.name, state.datatype, &state.dims, Role::State)?;
        }
        if engine.inputs().all(|input| self.bound.contains(&*input.name)) {
            return Ok(());
        }
        Err(Error::internal(
            "failed to specify the dimensions of all input tensors or values of all input shape tensors",
        ))
    }

    fn shape_input(&mut self, input: &'a InputConfig) -> Result<()> {
        let name = &*input.name;
        let tensor = self.found(name, TensorMode::Input)?;
        self.bind(name, TensorMode::Input)?;
        let expected = input.datatype.protocol_name();
        if !matches!(input.datatype, DataType::Int32 | DataType::Int64) {
            return self.invalid(format_args!(
                "unexpected datatype TYPE_{expected} in model configuration for shape input '{name}', expecting \
                 TYPE_INT32 or TYPE_INT64"
            ));
        }
        if datatype::of_engine(tensor.datatype) != Some(input.datatype) {
            return self.invalid(format_args!(
                "unexpected datatype TYPE_{} in engine for shape input '{name}', expecting TYPE_{expected}",
                engine_type(tensor)
            ));
        }
        self.layout(tensor)?;
        let dims = declared_dims(&input.dims, input.reshape.as_deref());
        compare_values(self.subject(name), &tensor.shape, dims)
    }

    /// `dims` are without the batch dimension.
    fn input(&mut self, name: &'a str, datatype: DataType, dims: &[i64], role: Role) -> Result<()> {
        let tensor = self.found(name, TensorMode::Input)?;
        if tensor.is_shape_io || (role == Role::State && self.bound.contains(name)) {
            return Ok(()); // has been bound, or is found missing below
        }
        self.bind(name, TensorMode::Input)?;
        self.datatype(tensor, datatype)?;
        self.layout(tensor)?;
        let is_dynamic = tensor.shape.contains(&-1);
        let ragged = role == Role::Ragged;
        if role == Role::Control && is_dynamic {
            one_per_row(&tensor.shape, self.config.batches()).map_err(|why| {
                Error::invalid_arg(format!(
                    "unexpected shape {} for control input '{name}' for model {}: {why}",
                    Dims(&tensor.shape),
                    self.model()
                ))
            })?;
        } else if !ragged {
            compare(self.subject(name), &tensor.shape, dims)?;
        } else if tensor.shape.len() != 1 || tensor.shape.first() != dims.first() {
            return Err(Error::invalid_arg(format!(
                "model '{}', tensor '{name}': for the model to support ragged input, the engine shape is: {} while the \
                 model config shape is: {}",
                self.model(),
                Dims(&tensor.shape),
                Dims(dims)
            )));
        }
        let full = if ragged { vec![-1] } else { full_dims(dims, self.config.batches()) };
        for profile in self.profiles {
            let Some(range) = profile.range(self.engine, name) else { continue };
            range.admit_declared(&full).map_err(|why| {
                Error::invalid_arg(format!(
                    "model configuration specified invalid shape for input '{name}' for model {}. Error details: {why}",
                    self.model()
                ))
            })?;
        }
        if ragged && !is_linear(tensor) {
            return Err(Error::internal(format!(
                "unexpected allow-ragged for non-linear input '{name}' for {}",
                self.instance
            )));
        }
        Ok(())
    }

    /// Every output of the engine goes somewhere, and fits.
    fn outputs(&mut self) -> Result<()> {
        let config = self.config;
        for scattered in &config.batch_outputs {
            let name = &config.outputs[scattered.output].name;
            if self.engine.tensor(name).is_some_and(|tensor| tensor.is_shape_io) {
                return Err(Error::invalid_arg(format!("batch output '{name}' can not be shape binding")));
            }
        }
        for output in config.outputs.iter().filter(|output| output.form == TensorForm::Shape) {
            self.shape_output(output)?;
        }
        for (index, output) in config.outputs.iter().enumerate() {
            if output.form != TensorForm::Shape {
                self.output(output, config.batch_output(index).is_some())?;
            }
        }
        for output in &config.hidden_outputs {
            if !self.bound.contains(&*output.name) {
                self.output(output, false)?;
            }
        }
        match self.engine.outputs().find(|output| !self.bound.contains(&*output.name)) {
            None => Ok(()),
            Some(missing) => {
                self.invalid(format_args!("expected configuration for output '{}'", missing.name))
            }
        }
    }

    fn shape_output(&mut self, output: &'a OutputConfig) -> Result<()> {
        let name = &*output.name;
        let tensor = self.found(name, TensorMode::Output)?;
        self.bind(name, TensorMode::Output)?;
        if output.datatype != DataType::Int64 {
            return self.invalid(format_args!(
                "unexpected datatype '{} in model configuration for shape output '{name}', expecting TYPE_INT64",
                output.datatype.config_name()
            ));
        }
        self.datatype(tensor, output.datatype)?;
        self.layout(tensor)?;
        let dims = declared_dims(&output.dims, output.reshape.as_deref());
        compare_values(self.subject(name), &tensor.shape, dims)
    }

    fn output(&mut self, output: &'a OutputConfig, scattered: bool) -> Result<()> {
        let name = &*output.name;
        let tensor = self.found(name, TensorMode::Output)?;
        self.bind(name, TensorMode::Output)?;
        self.datatype(tensor, output.datatype)?;
        self.layout(tensor)?;
        if !scattered {
            // What is scattered gets its shape from an input, whatever the engine's is.
            let dims = declared_dims(&output.dims, output.reshape.as_deref());
            return compare(self.subject(name), &tensor.shape, dims);
        }
        if is_linear(tensor) {
            return Ok(());
        }
        self.invalid(format_args!("unexpected allow-ragged for non-linear output '{name}'"))
    }

    fn found(&self, name: &str, mode: TensorMode) -> Result<&'a TensorInfo> {
        self.engine.tensor(name).ok_or_else(|| {
            Error::not_found(format!("{} '{name}' not found for {}", side(mode), self.instance))
        })
    }

    /// Notes that the config has something for tensor `name`, which must be of `mode`.
    fn bind(&mut self, name: &'a str, mode: TensorMode) -> Result<()> {
        let what = side(mode);
        let is_of_mode = self.engine.tensor(name).is_some_and(|tensor| tensor.mode == mode);
        if !is_of_mode {
            return self.invalid(format_args!("{what} '{name}' is expected to be an {what} in model"));
        }
        if self.bound.insert(name) {
            return Ok(());
        }
        self.invalid(format_args!("{what} '{name}'  has already appeared as an input or output"))
    }

    fn datatype(&self, tensor: &TensorInfo, expected: DataType) -> Result<()> {
        if datatype::of_engine(tensor.datatype) == Some(expected) {
            return Ok(());
        }
        self.invalid(format_args!(
            "unexpected datatype TYPE_{} for inference {} '{}', expecting TYPE_{}",
            engine_type(tensor),
            side(tensor.mode),
            tensor.name,
            expected.protocol_name()
        ))
    }

    fn layout(&self, tensor: &TensorInfo) -> Result<()> {
        if is_linear(tensor) || Layout::of(tensor).is_some() {
            return Ok(());
        }
        if tensor.vectorized_dim == -1 {
            return self.invalid(format_args!(
                "unexpected vectorized dim is -1 for non-linear tensor '{}'",
                tensor.name
            ));
        }
        self.invalid(format_args!(
            "unexpected vectorized dim {} with {} components for tensor '{}' of shape {}",
            tensor.vectorized_dim,
            tensor.components_per_element,
            tensor.name,
            Dims(&tensor.shape)
        ))
    }

    fn subject<'s>(&'s self, tensor: &'s str) -> Subject<'s> {
        Subject { model: self.model(), instance: self.instance, tensor, batches: self.config.batches() }
    }
}

/// Triton's name of a tensor's type; TensorRT's where Triton has none.
fn engine_type(tensor: &TensorInfo) -> &'static str {
    datatype::of_engine(tensor.datatype).map_or(tensor.datatype.name(), DataType::protocol_name)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
