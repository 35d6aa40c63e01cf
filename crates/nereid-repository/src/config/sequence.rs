//! Sequence batching: checks (`ValidateModelConfig`, `GetBooleanSequenceControlProperties` and
//! `GetTypedSequenceControlProperties` in Triton's model_config_utils.cc), and what becomes of it in the config that the
//! program trusts. States are in `state`.

use bytes::Bytes;
use nereid_core::config::{
    Control, Direct, Flag, InputConfig, Oldest, Scheduling, SequenceBatching, Strategy,
};
use nereid_core::{DataType, Error, ModelConfig, Result};
use nereid_protocol::inference as wire;
use wire::model_config::SchedulingChoice;
use wire::model_sequence_batching::control::Kind;
use wire::model_sequence_batching::{Control as WireControl, StrategyChoice};

use super::{convert, state};
use crate::disk::ModelDir;

/// Kinds of controls in the order in which they are checked and handed to the model.
const KINDS: [Kind; 4] = [
    Kind::ControlSequenceStart,
    Kind::ControlSequenceEnd,
    Kind::ControlSequenceReady,
    Kind::ControlSequenceCorrid,
];

/// Types that a correlation id may have.
const ID_TYPES: [DataType; 5] =
    [DataType::Uint64, DataType::Int64, DataType::Uint32, DataType::Int32, DataType::Bytes];

/// The sequence batcher of `config`, if it has one.
pub(super) fn sequence_batching(config: &wire::ModelConfig) -> Option<&wire::ModelSequenceBatching> {
    match &config.scheduling_choice {
        Some(SchedulingChoice::SequenceBatching(batching)) => Some(batching),
        _ => None,
    }
}

/// Refuses controls and strategies that contradict themselves.
///
/// # Errors
/// InvalidArg with Triton's text.
pub(super) fn validate(config: &wire::ModelConfig) -> Result<()> {
    let Some(batching) = sequence_batching(config) else { return Ok(()) };
    let name = &config.name;
    for kind in KINDS {
        control(batching, kind, name)?;
    }
    match &batching.strategy_choice {
        Some(StrategyChoice::Oldest(oldest)) => {
            for &size in &oldest.preferred_batch_size {
                if size <= 0 {
                    return invalid(format!(
                        "sequence batching preferred batch size must be positive for {name}"
                    ));
                }
                if size > config.max_batch_size {
                    return invalid(format!(
                        "sequence batching preferred batch size must be <= max batch size for {name}"
                    ));
                }
            }
            Ok(())
        }
        Some(StrategyChoice::Direct(direct)) if !(0.0..=1.0).contains(&direct.minimum_slot_utilization) => {
            invalid(format!(
                "sequence batching minimum slot utilization must be in range (0.0, 1.0] for {name}"
            ))
        }
        _ => Ok(()),
    }
}

/// Adds the sequence batcher of `wire` to `config`; reads initial states from the model's folder `dir`.
///
/// # Errors
/// InvalidArg: the states contradict themselves. Internal: a file cannot be read.
pub(crate) fn apply(config: &mut ModelConfig, wire: &wire::ModelConfig, dir: &ModelDir) -> Result<()> {
    let Some(batching) = sequence_batching(wire) else { return Ok(()) };
    let mut controls = Vec::new();
    for kind in KINDS {
        if let Some((input, given)) = control(batching, kind, &wire.name)? {
            let (control, datatype) = given;
            config.injected_inputs.push(control_input(input, datatype));
            controls.push(control);
        }
    }
    let states = state::apply(config, batching, dir)?;
    config.scheduling = Scheduling::Sequence(SequenceBatching {
        strategy: strategy(batching, config.max_batch_size),
        max_idle_us: batching.max_sequence_idle_microseconds,
        controls,
        states,
        iterative: batching.iterative_sequence,
    });
    Ok(())
}

fn strategy(batching: &wire::ModelSequenceBatching, max_batch_size: u32) -> Strategy {
    match &batching.strategy_choice {
        Some(StrategyChoice::Oldest(oldest)) => Strategy::Oldest(Oldest {
            max_candidate_sequences: match usize::try_from(oldest.max_candidate_sequences) {
                Ok(count) if count > 0 => count,
                _ => max_batch_size.max(1) as usize,
            },
            preferred_batch_sizes: convert::preferred(&oldest.preferred_batch_size, max_batch_size),
            max_queue_delay_us: oldest.max_queue_delay_microseconds,
        }),
        Some(StrategyChoice::Direct(direct)) => Strategy::Direct(Direct {
            max_queue_delay_us: direct.max_queue_delay_microseconds,
            minimum_slot_utilization: direct.minimum_slot_utilization,
        }),
        None => Strategy::Direct(Direct::default()),
    }
}

/// The control of `kind`, with the names of its input and the type that it has.
type Given<'a> = Option<(&'a str, (Control, DataType))>;

fn control<'a>(batching: &'a wire::ModelSequenceBatching, kind: Kind, model: &str) -> Result<Given<'a>> {
    let mut found = None;
    for (position, input) in batching.control_input.iter().enumerate() {
        if input.name.is_empty() {
            return invalid(format!("sequence batching control tensor must have a name for {model}"));
        }
        let again = batching.control_input[..position].iter().any(|earlier| earlier.name == input.name);
        // Triton lets one entry name several kinds, of which the model gets the last.
        if again || input.control.len() > 1 {
            return invalid(format!(
                "sequence batching control tensor '{}' is specified for multiple control kinds for {model}",
                input.name
            ));
        }
        for control in input.control.iter().filter(|control| control.kind == kind as i32) {
            if found.is_some() {
                return invalid(format!(
                    "sequence batching specifies multiple {} tensors for {model}",
                    kind.as_str_name()
                ));
            }
            let given = match kind {
                Kind::ControlSequenceCorrid => id(control, model)?,
                _ => flag(control, kind, model)?,
            };
            found = Some((&*input.name, given));
        }
    }
    Ok(found)
}

fn flag(control: &WireControl, kind: Kind, model: &str) -> Result<(Control, DataType)> {
    let what = kind.as_str_name();
    let given = [
        ("int32_false_true", control.int32_false_true.len()),
        ("fp32_false_true", control.fp32_false_true.len()),
        ("bool_false_true", control.bool_false_true.len()),
    ];
    let mut used = given.iter().filter(|(_, count)| *count != 0);
    let Some((field, count)) = used.next() else {
        return invalid(format!(
            "sequence batching must specify either 'int32_false_true', 'fp32_false_true' or 'bool_false_true' for {what} \
             for {model}"
        ));
    };
    if used.next().is_some() {
        return invalid(format!(
            "sequence batching specifies more than one from 'int32_false_true', 'fp32_false_true' and 'bool_false_true' \
             for {what} for {model}"
        ));
    }
    if *count != 2 {
        return invalid(format!(
            "sequence batching control '{field}' must have exactly 2 entries for {what} for {model}"
        ));
    }
    let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let (flag, datatype) = if let [no, yes] = control.int32_false_true[..] {
        (Flag { no: bytes(&no.to_le_bytes()), yes: bytes(&yes.to_le_bytes()) }, DataType::Int32)
    } else if let [no, yes] = control.fp32_false_true[..] {
        (Flag { no: bytes(&no.to_le_bytes()), yes: bytes(&yes.to_le_bytes()) }, DataType::Fp32)
    } else {
        let [no, yes] = [0, 1].map(|place| u8::from(control.bool_false_true[place]));
        (Flag { no: bytes(&[no]), yes: bytes(&[yes]) }, DataType::Bool)
    };
    let control = match kind {
        Kind::ControlSequenceStart => Control::Start(flag),
        Kind::ControlSequenceEnd => Control::End(flag),
        _ => Control::Ready(flag),
    };
    Ok((control, datatype))
}

fn id(control: &WireControl, model: &str) -> Result<(Control, DataType)> {
    let what = Kind::ControlSequenceCorrid.as_str_name();
    let has_values = !control.int32_false_true.is_empty()
        || !control.fp32_false_true.is_empty()
        || !control.bool_false_true.is_empty();
    if has_values {
        return invalid(format!(
            "sequence batching must not specify either 'int32_false_true', 'fp32_false_true' or 'bool_false_true' for \
             {what} for {model}"
        ));
    }
    match DataType::from_number(control.data_type).filter(|datatype| ID_TYPES.contains(datatype)) {
        Some(datatype) => Ok((Control::CorrelationId, datatype)),
        None => invalid(format!(
            "unexpected data type for control {what} for {model}. Allowed data types are TYPE_UINT64, TYPE_INT64, \
             TYPE_UINT32, TYPE_INT32 and TYPE_STRING"
        )),
    }
}

fn control_input(name: &str, datatype: DataType) -> InputConfig {
    let (name, dims, reshape) = (name.into(), vec![1], None);
    InputConfig {
        name,
        datatype,
        dims,
        reshape,
        optional: false,
        allow_ragged_batch: false,
        form: Default::default(),
    }
}

fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid_arg(message))
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
