//! Checks of the inputs and outputs of a config (`ValidateModelIOConfig` in Triton's model_config_utils.cc),
//! with its texts. Whether the model agrees is for the backend to say.

use std::collections::HashSet;

use nereid_core::{Error, Result};
use nereid_protocol::inference::model_input::Format;
use nereid_protocol::inference::{DataType, ModelConfig, ModelInput, ModelOutput};

use super::{TENSORRT, batch_io};

/// What inputs and outputs have in common.
struct Tensor<'a> {
    name: &'a str,
    datatype: DataType,
    dims: &'a [i64],
    reshape: Option<&'a [i64]>,
    is_shape_tensor: bool,
    is_non_linear: bool,
}

/// Refuses tensors that no model can have.
///
/// # Errors
/// InvalidArg, ending in ` for <model>`.
pub(crate) fn validate(config: &ModelConfig) -> Result<()> {
    let inputs = config.input.iter().try_for_each(|input| check_input(input, config));
    let outputs = || config.output.iter().try_for_each(|output| check_output(output, config));
    inputs.and_then(|()| outputs()).map_err(|e| of_model(e, config))?;
    batch_io::validate(config).map_err(|e| of_model(e, config))
}

/// Refuses a name that is given twice. Called after the backend has accepted the config, because its
/// complaint about the number of tensors is what clients know.
///
/// # Errors
/// InvalidArg that names the tensor.
pub(crate) fn unique_names(config: &ModelConfig) -> Result<()> {
    let inputs = config.input.iter().map(|input| ("input", &input.name));
    let outputs = config.output.iter().map(|output| ("output", &output.name));
    let mut seen = HashSet::new();
    match inputs.chain(outputs).find(|tensor| !seen.insert(*tensor)) {
        None => Ok(()),
        Some((side, name)) => Err(Error::invalid_arg(format!(
            "model {side} '{name}' is specified more than once for {}",
            config.name
        ))),
    }
}

fn of_model(error: Error, config: &ModelConfig) -> Error {
    Error::new(error.code(), format!("{} for {}", error.message(), config.name))
}

fn check_input(input: &ModelInput, config: &ModelConfig) -> Result<()> {
    let tensor = Tensor {
        name: &input.name,
        datatype: input.data_type(),
        dims: &input.dims,
        reshape: input.reshape.as_ref().map(|reshape| &*reshape.shape),
        is_shape_tensor: input.is_shape_tensor,
        is_non_linear: input.is_non_linear_format_io,
    };
    check_shape(&tensor, "model input ", config.max_batch_size)?;
    if input.format() != Format::None && input.dims.len() != 3 {
        return invalid("model input NHWC/NCHW require 3 dims");
    }
    check_platform(&tensor, "input", &config.platform)
}

fn check_output(output: &ModelOutput, config: &ModelConfig) -> Result<()> {
    let tensor = Tensor {
        name: &output.name,
        datatype: output.data_type(),
        dims: &output.dims,
        reshape: output.reshape.as_ref().map(|reshape| &*reshape.shape),
        is_shape_tensor: output.is_shape_tensor,
        is_non_linear: output.is_non_linear_format_io,
    };
    check_shape(&tensor, "model output ", config.max_batch_size)?;
    check_platform(&tensor, "output", &config.platform)
}

fn check_shape(tensor: &Tensor<'_>, prefix: &str, max_batch_size: i32) -> Result<()> {
    if tensor.name.is_empty() {
        return invalid(format!("{prefix}must specify 'name'"));
    }
    let prefix = format!("{prefix}'{}' ", tensor.name);
    if tensor.datatype == DataType::TypeInvalid {
        return invalid(format!("{prefix}must specify 'data_type'"));
    }
    if tensor.dims.is_empty() {
        return invalid(format!("{prefix}must specify 'dims'"));
    }
    if max_batch_size == 0 && tensor.reshape.is_some_and(<[i64]>::is_empty) {
        return invalid(format!(
            "{prefix}cannot have empty reshape for non-batching model as scalar tensors are not supported"
        ));
    }
    check_sizes(tensor.dims, &format!("{prefix}dimension"))?;
    if let Some(reshape) = tensor.reshape {
        check_sizes(reshape, &format!("{prefix}reshape dimensions"))?;
        check_reshape(tensor, reshape, &prefix)?;
    }
    Ok(())
}

fn check_sizes(dims: &[i64], subject: &str) -> Result<()> {
    if dims.iter().all(|dim| *dim >= 1 || *dim == -1) {
        return Ok(());
    }
    invalid(format!("{subject} must be integer >= 1, or -1 to indicate a variable-size dimension"))
}

/// Both sides must have the same number of elements; with variable dimensions, so must the runs between
/// them: `[2,4,-1,6]` fits `[8,-1,1,6]`. An empty reshape stands for one element.
fn check_reshape(tensor: &Tensor<'_>, reshape: &[i64], prefix: &str) -> Result<()> {
    let differ = || invalid(format!("{prefix}has different size for dims and reshape"));
    let (dims, reshape) = (
        runs(tensor.dims, &format!("{} dims", tensor.name))?,
        runs(reshape, &format!("{} reshape", tensor.name))?,
    );
    if (dims.len() == 1) != (reshape.len() == 1) {
        return differ();
    }
    if dims.len() != reshape.len() {
        return invalid(format!(
            "{prefix}has different number of variable-size dimensions for dims and reshape"
        ));
    }
    if dims == reshape { Ok(()) } else { differ() }
}

/// Element counts of the runs of fixed dimensions; one more than there are variable ones.
fn runs(dims: &[i64], name: &str) -> Result<Vec<i64>> {
    dims.split(|dim| *dim == -1)
        .map(|run| run.iter().try_fold(1_i64, |count, dim| count.checked_mul(*dim)))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| {
            Error::invalid_arg(format!(
                "element count for tensor '{name}' exceeds maximum size of {}",
                i64::MAX
            ))
        })
}

fn check_platform(tensor: &Tensor<'_>, side: &str, platform: &str) -> Result<()> {
    if tensor.is_shape_tensor && platform != TENSORRT.0 {
        return invalid("shape tensors are only supported for TensorRT platform");
    }
    if tensor.is_non_linear {
        if platform != TENSORRT.0 {
            return invalid("Non-linear IO format is only supported for the TensorRT platform");
        }
        if tensor.dims.len() != 3 {
            return invalid(format!("Non-linear IO format {side} requires 3 dims"));
        }
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> Result<()> {
    Err(Error::invalid_arg(message))
}

#[cfg(test)]
#[path = "tensors_tests.rs"]
mod tests;
