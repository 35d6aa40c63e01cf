//! Files with tensors that a config names: for warm-up requests and for initial states. They must lie in the model
//! directory, because a config may come over the network.

use nereid_core::{Error, Result};
use nereid_protocol::inference::ModelConfig;
use nereid_protocol::inference::model_config::SchedulingChoice;
use nereid_protocol::inference::model_sequence_batching::initial_state::StateData;
use nereid_protocol::inference::model_warmup::input::InputDataType;

use crate::disk::{self, ModelDir};

/// Folders of a model directory for these files.
pub(crate) const WARM_UP: &str = "warmup";
pub(crate) const INITIAL_STATE: &str = "initial_state";

/// # Errors
/// InvalidArg: a file is outside the model directory.
pub(crate) fn confine(config: &ModelConfig, dir: &ModelDir) -> Result<()> {
    let warm_up = config.model_warmup.iter().flat_map(|warmup| warmup.inputs.values());
    let warm_up = warm_up.filter_map(|input| match &input.input_data_type {
        Some(InputDataType::InputDataFile(file)) => Some((WARM_UP, file)),
        _ => None,
    });
    let states = match &config.scheduling_choice {
        Some(SchedulingChoice::SequenceBatching(batching)) => batching.state.as_slice(),
        _ => &[],
    };
    let initial = states.iter().flat_map(|state| &state.initial_state);
    let initial = initial.filter_map(|state| match &state.state_data {
        Some(StateData::DataFile(file)) => Some((INITIAL_STATE, file)),
        _ => None,
    });
    for (folder, file) in warm_up.chain(initial) {
        if dir.inside(folder, file).is_none() {
            return Err(Error::invalid_arg(format!(
                "{folder} file '{file:.200}' of model '{}' is outside the model directory",
                config.name
            )));
        }
    }
    Ok(())
}

/// The first `most` bytes of `file` in `folder` of the model directory.
///
/// # Errors
/// Internal, with Triton's text, if it cannot be read; InvalidArg if it is outside the model directory.
pub(crate) fn read(dir: &ModelDir, folder: &str, file: &str, most: u64) -> Result<Vec<u8>> {
    let path = dir.inside(folder, file).ok_or_else(|| {
        Error::invalid_arg(format!("{folder} file '{file:.200}' is outside the model directory"))
    })?;
    disk::read_start(&path, most)
}
