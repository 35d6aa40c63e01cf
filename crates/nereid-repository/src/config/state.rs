//! States of sequences: tensors that one request leaves for the next, and what the first one gets
//! (`GenerateInitialStateData` and `SequenceStates::Initialize` in Triton).

use bytes::Bytes;
use nereid_core::config::{InputConfig, OutputConfig, State, StateTensor};
use nereid_core::{DataType, Error, ModelConfig, Result, Shape, shape};
use nereid_protocol::inference as wire;
use wire::model_sequence_batching::initial_state::StateData;
use wire::model_sequence_batching::{InitialState, State as WireState};

use crate::data_files;
use crate::disk::ModelDir;

/// Largest state that a sequence may begin with: its size is only a number in a config.
const MAX_INITIAL_BYTES: usize = 1 << 30;

/// Adds the inputs and outputs of the states of `batching` to `config`.
///
/// # Errors
/// InvalidArg with Triton's text, or the file of an initial state cannot be read.
pub(super) fn apply(
    config: &mut ModelConfig,
    batching: &wire::ModelSequenceBatching,
    dir: &ModelDir,
) -> Result<Vec<State>> {
    let mut states = Vec::with_capacity(batching.state.len());
    for (position, state) in batching.state.iter().enumerate() {
        let earlier = &batching.state[..position];
        for (what, name, again) in [
            ("input", &state.input_name, earlier.iter().any(|other| other.input_name == state.input_name)),
            (
                "output",
                &state.output_name,
                earlier.iter().any(|other| other.output_name == state.output_name),
            ),
        ] {
            if again {
                return invalid(format!("State {what} name '{name}' specified more than once."));
            }
        }
        let datatype = DataType::from_number(state.data_type).ok_or_else(|| {
            Error::invalid_arg(format!("state '{}' must specify 'data_type'", state.input_name))
        })?;
        if state.use_growable_memory && !state.use_same_buffer_for_input_output {
            return invalid(format!(
                "In order to 'use_growable_memory', you must also enable 'use_single_buffer' for state input name '{}'.",
                state.input_name
            ));
        }
        let initial = initial(state, datatype, config.batches(), dir)?;
        let (dims, reshape) = (state.dims.clone(), None);
        let output = match config.output_index(&state.output_name) {
            Some(visible) => visible,
            None => {
                let name = state.output_name.as_str().into();
                config.hidden_outputs.push(OutputConfig {
                    name,
                    datatype,
                    dims: dims.clone(),
                    reshape: reshape.clone(),
                    form: Default::default(),
                });
                config.outputs.len() + config.hidden_outputs.len() - 1
            }
        };
        let name = state.input_name.as_str().into();
        config.injected_inputs.push(InputConfig {
            name,
            datatype,
            dims,
            reshape,
            optional: false,
            allow_ragged_batch: false,
            form: Default::default(),
        });
        states.push(State { output, initial });
    }
    Ok(states)
}

/// What the first request of a sequence gets; where the config does not say it, zeros of the smallest shape that fits.
fn initial(state: &WireState, datatype: DataType, batches: bool, dir: &ModelDir) -> Result<StateTensor> {
    let name = &state.input_name;
    let given = match &state.initial_state[..] {
        [] => None,
        [given] => Some(given),
        several => {
            return invalid(format!(
                "initial_state field for state input '{name}' must contain exactly one or zero element. Found '{}' \
                 elements.",
                several.len()
            ));
        }
    };
    let dims: Vec<i64> = match given {
        None => state.dims.iter().map(|dim| if *dim == -1 { 1 } else { *dim }).collect(),
        Some(given) => {
            check(state, given)?;
            given.dims.clone()
        }
    };
    let size = byte_size(datatype, &dims).ok_or_else(|| {
        Error::invalid_arg(format!(
            "the initial state of state input '{name}' has the dims {}, of which the size is limited to \
             {MAX_INITIAL_BYTES} bytes",
            shape::Dims(&dims)
        ))
    })?;
    let data = match given.and_then(|given| given.state_data.as_ref()) {
        Some(StateData::DataFile(file)) => data(file, datatype, &dims, size, dir)?,
        Some(StateData::ZeroData(_)) => zeros(size, name)?,
        None if given.is_none() => zeros(size, name)?,
        None => {
            return invalid(format!("initial_state setting expects state'{name}' to have state_data set"));
        }
    };
    let mut shape = Shape::new();
    if batches {
        shape.push(1);
    }
    shape.extend_from_slice(&dims);
    Ok(StateTensor { shape, data })
}

fn check(state: &WireState, given: &InitialState) -> Result<()> {
    let name = &state.input_name;
    if given.data_type != state.data_type {
        return invalid(format!(
            "The data type used for 'initial_state' field of state '{name}' does not match the state data type."
        ));
    }
    if given.name.is_empty() {
        return invalid(format!(
            "Field 'name' must be set when using initial_state for state input '{name}'."
        ));
    }
    if given.dims.len() != state.dims.len() {
        return invalid(format!(
            "Number of dimensions in 'initial_state' doesn't match the size of 'state' dimensions for state input \
             '{name}'. {} != {}",
            given.dims.len(),
            state.dims.len()
        ));
    }
    for (given, expected) in given.dims.iter().zip(&state.dims) {
        if *given == -1 {
            return invalid(format!(
                "'initial_state' field for state input name '{name}' contains variable dimensions."
            ));
        }
        if *expected != -1 && given != expected {
            return invalid(format!(
                "'initial_state' dim for input name '{name}' doesn't match 'state' dim description. {given} != {expected}"
            ));
        }
    }
    Ok(())
}

/// Bytes of a state of zeros; an empty string takes four.
fn byte_size(datatype: DataType, dims: &[i64]) -> Option<usize> {
    let size = shape::element_count(dims)?.checked_mul(datatype.size_bytes().unwrap_or(size_of::<u32>()))?;
    (size <= MAX_INITIAL_BYTES).then_some(size)
}

fn zeros(size: usize, name: &str) -> Result<Bytes> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(size).map_err(|_| {
        Error::internal(format!(
            "no memory for the {size} bytes of the initial state of state input '{name}'"
        ))
    })?;
    zeros.resize(size, 0);
    Ok(zeros.into())
}

/// The state in `file`. What the file has beyond it does not count.
fn data(file: &str, datatype: DataType, dims: &[i64], size: usize, dir: &ModelDir) -> Result<Bytes> {
    let most = if datatype == DataType::Bytes { MAX_INITIAL_BYTES } else { size };
    let data = Bytes::from(data_files::read(dir, data_files::INITIAL_STATE, file, most as u64)?);
    if datatype != DataType::Bytes {
        if data.len() < size {
            return invalid(format!(
                "initial_state setting expects {size} bytes, but the data provided from {file}only has {} bytes.",
                data.len()
            ));
        }
        return Ok(data);
    }
    // Triton finds out when the model runs.
    let elements = nereid_core::string_tensor::elements(&data);
    match elements.collect::<Result<Vec<_>, _>>() {
        Ok(elements) if Some(elements.len()) == shape::element_count(dims) => Ok(data),
        _ => invalid(format!(
            "the initial state in {file} does not hold as many strings as its dims {} say",
            shape::Dims(dims)
        )),
    }
}

fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid_arg(message))
}
