//! `batch_input` and `batch_output` of a config: the checks of Triton's `ValidateBatchIO` (model_config_utils.cc) with its
//! texts, and the form that the program trusts. Whether the model has such inputs is for the backend to say.

use std::collections::HashSet;

use nereid_core::config::{BatchInput, BatchInputElement, BatchInputKind, BatchOutput};
use nereid_core::{Error, Result};
use nereid_protocol::inference as wire;
use wire::ModelConfig;

/// Refuses batch inputs and outputs that nothing could be made of.
///
/// # Errors
/// InvalidArg.
pub(crate) fn validate(config: &ModelConfig) -> Result<()> {
    config.batch_input.iter().try_for_each(|input| check_input(input, config))?;
    config.batch_output.iter().try_for_each(|output| check_output(output, config))
}

/// The batch inputs of a config that was validated.
///
/// # Errors
/// Internal, if a check that comes earlier was left out.
pub(crate) fn inputs(config: &ModelConfig) -> Result<Vec<BatchInput>> {
    config.batch_input.iter().map(|input| convert_input(input, config)).collect()
}

/// The batch outputs of a config that was validated, one for each target.
///
/// # Errors
/// Internal, if a check that comes earlier was left out.
pub(crate) fn outputs(config: &ModelConfig) -> Result<Vec<BatchOutput>> {
    let convert = |output: &wire::BatchOutput| {
        let source = source(config, &output.source_input)?;
        let targets = output.target_name.iter().map(move |target| {
            let place = config.output.iter().position(|output| output.name == *target);
            Ok(BatchOutput { output: place.ok_or_else(|| unchecked(config))?, source })
        });
        targets.collect::<Result<Vec<_>>>()
    };
    Ok(config.batch_output.iter().map(convert).collect::<Result<Vec<_>>>()?.concat())
}

fn check_input(input: &wire::BatchInput, config: &ModelConfig) -> Result<()> {
    let Ok(kind) = wire::batch_input::Kind::try_from(input.kind) else {
        return invalid("unknown batch input kind ''");
    };
    check_source_count("input", kind.as_str_name(), &input.source_input)?;
    if !matches!(input.data_type(), wire::DataType::TypeInt32 | wire::DataType::TypeFp32) {
        return invalid("batch input data type must be TYPE_INT32 or TYPE_FP32");
    }
    check_sources(&input.source_input, config)
}

fn check_output(output: &wire::BatchOutput, config: &ModelConfig) -> Result<()> {
    let Ok(kind) = wire::batch_output::Kind::try_from(output.kind) else {
        return invalid("unknown batch output kind ''");
    };
    check_source_count("output", kind.as_str_name(), &output.source_input)?;
    check_sources(&output.source_input, config)?;
    let mut seen = HashSet::new();
    for name in &output.target_name {
        let Some(target) = config.output.iter().find(|output| output.name == *name) else {
            return invalid(format!("unknown target output name '{name}'"));
        };
        if !seen.insert(name) {
            return invalid(format!("target output name '{name}' can only be specified once"));
        }
        check_rank(target, &output.source_input, config)?;
    }
    Ok(())
}

fn check_source_count(side: &str, kind: &str, sources: &[String]) -> Result<()> {
    match sources.len() {
        1 => Ok(()),
        count => invalid(format!("batch {side} kind '{kind}' expects 1 source input, got {count}")),
    }
}

fn check_sources(sources: &[String], config: &ModelConfig) -> Result<()> {
    match sources.iter().find(|name| config.input.iter().all(|input| input.name != **name)) {
        None => Ok(()),
        Some(name) => invalid(format!("unknown source input name '{name}'")),
    }
}

/// Sizes that `target` leaves open are those of the source in the same place. Triton reads past the end of its shape.
fn check_rank(target: &wire::ModelOutput, sources: &[String], config: &ModelConfig) -> Result<()> {
    let dims = target.reshape.as_ref().map_or(&target.dims, |reshape| &reshape.shape);
    let last_open = dims.iter().rposition(|dim| *dim == -1);
    for source in config.input.iter().filter(|input| sources.contains(&input.name)) {
        let rank = source.reshape.as_ref().map_or(&source.dims, |reshape| &reshape.shape).len();
        if last_open.is_some_and(|place| place >= rank) {
            return invalid(format!(
                "target output '{}' has variable-size dimensions that source input '{}' does not have",
                target.name, source.name
            ));
        }
    }
    Ok(())
}

fn convert_input(input: &wire::BatchInput, config: &ModelConfig) -> Result<BatchInput> {
    use wire::batch_input::Kind;
    Ok(BatchInput {
        kind: match input.kind() {
            Kind::BatchElementCount => BatchInputKind::ElementCount,
            Kind::BatchAccumulatedElementCount => BatchInputKind::AccumulatedElementCount,
            Kind::BatchAccumulatedElementCountWithZero => BatchInputKind::AccumulatedElementCountWithZero,
            Kind::BatchMaxElementCountAsShape => BatchInputKind::MaxElementCountAsShape,
            Kind::BatchItemShape => BatchInputKind::ItemShape,
            Kind::BatchItemShapeFlatten => BatchInputKind::ItemShapeFlatten,
        },
        element: match input.data_type() {
            wire::DataType::TypeInt32 => BatchInputElement::Int32,
            wire::DataType::TypeFp32 => BatchInputElement::Fp32,
            _ => return Err(unchecked(config)),
        },
        targets: input.target_name.iter().map(|name| name.as_str().into()).collect(),
        source: source(config, &input.source_input)?,
    })
}

fn source(config: &ModelConfig, sources: &[String]) -> Result<usize> {
    let place = config.input.iter().position(|input| sources.first() == Some(&input.name));
    place.ok_or_else(|| unchecked(config))
}

fn unchecked(config: &ModelConfig) -> Error {
    Error::internal(format!("batch input or output of model '{}' was not checked", config.name))
}

fn invalid(message: impl Into<String>) -> Result<()> {
    Err(Error::invalid_arg(message))
}

#[cfg(test)]
mod tests {
    use wire::{ModelInput, ModelOutput, ModelTensorReshape};

    use super::*;

    fn config() -> ModelConfig {
        let (kind, data_type) = (4, wire::DataType::TypeInt32 as i32);
        let input = |name: &str| ModelInput { name: name.into(), dims: vec![-1], ..Default::default() };
        let output = |name: &str| ModelOutput { name: name.into(), dims: vec![-1], ..Default::default() };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        ModelConfig {
            name: "m".into(),
            input: vec![input("a"), input("b")],
            output: vec![output("y"), output("z")],
            batch_input: vec![wire::BatchInput {
                kind,
                target_name: names(&["t", "u"]),
                data_type,
                source_input: names(&["b"]),
            }],
            batch_output: vec![wire::BatchOutput {
                target_name: names(&["z", "y"]),
                kind: 0,
                source_input: names(&["b"]),
            }],
            ..Default::default()
        }
    }

    #[test]
    fn a_config_that_is_right() {
        let config = config();
        assert_eq!(validate(&config), Ok(()));
        let input = inputs(&config).unwrap().remove(0);
        assert_eq!((input.kind, input.element), (BatchInputKind::ItemShape, BatchInputElement::Int32));
        assert_eq!((input.source, &*input.targets[0], &*input.targets[1]), (1, "t", "u"));
        let scattered = [1, 0].map(|output| BatchOutput { output, source: 1 });
        assert_eq!(outputs(&config).unwrap(), scattered);
    }

    #[test]
    fn each_refusal() {
        let check = |change: &dyn Fn(&mut ModelConfig), expected: &str| {
            let mut config = config();
            change(&mut config);
            assert_eq!(validate(&config).unwrap_err().with_code(), format!("Invalid argument: {expected}"));
        };
        check(&|c| c.batch_input[0].kind = 9, "unknown batch input kind ''");
        check(
            &|c| c.batch_input[0].source_input.clear(),
            "batch input kind 'BATCH_ITEM_SHAPE' expects 1 source input, got 0",
        );
        check(
            &|c| c.batch_input[0].source_input.push("a".into()),
            "batch input kind 'BATCH_ITEM_SHAPE' expects 1 source input, got 2",
        );
        check(
            &|c| c.batch_input[0].data_type = wire::DataType::TypeInt64 as i32,
            "batch input data type must be TYPE_INT32 or TYPE_FP32",
        );
        check(&|c| c.batch_input[0].source_input[0] = "y".into(), "unknown source input name 'y'");
        check(&|c| c.batch_output[0].kind = 9, "unknown batch output kind ''");
        check(
            &|c| c.batch_output[0].source_input.clear(),
            "batch output kind 'BATCH_SCATTER_WITH_INPUT_SHAPE' expects 1 source input, got 0",
        );
        check(&|c| c.batch_output[0].source_input[0] = "c".into(), "unknown source input name 'c'");
        check(&|c| c.batch_output[0].target_name[0] = "a".into(), "unknown target output name 'a'");
        check(
            &|c| c.batch_output[0].target_name[0] = "y".into(),
            "target output name 'y' can only be specified once",
        );
        let shallow = "target output 'z' has variable-size dimensions that source input 'b' does not have";
        check(&|c| c.output[1].dims = vec![2, -1], shallow);
        check(&|c| c.input[1].reshape = Some(ModelTensorReshape { shape: vec![] }), shallow);
    }
}
