//! Which output gives which input back, and whether a config can be an identity at all. Order of checks and texts are
//! those of Triton's backend (`ValidateModelConfig` in its identity.cc).

use nereid_core::config::{InputConfig, OutputConfig};
use nereid_core::shape::{self, Dims};
use nereid_core::{Error, ModelConfig, Result};

/// Most bytes that stand for an optional input which a batch leaves out. Their number comes from the config alone.
const MAX_ABSENT_BYTES: usize = 1 << 30;

/// Bytes of an empty string: its length.
const EMPTY_STRING_BYTES: usize = 4;

/// An output and its input, as positions in the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) input: usize,
    pub(crate) output: usize,
    /// What a row (or the whole tensor of a model that does not batch) is, where the input is optional and left out:
    /// zeros.
    pub(crate) absent: Option<Absent>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Absent {
    /// Without the batch dimension.
    pub(crate) dims: Vec<i64>,
    pub(crate) row_bytes: usize,
}

/// The pairs of the model of `config`, in the order of the outputs' names, which is how Triton's responses list them.
///
/// # Errors
/// `InvalidArg` with Triton's text: the inputs and outputs do not pair up, or a pair differs in type or shape.
pub(crate) fn of(config: &ModelConfig) -> Result<Vec<Pair>> {
    let ModelConfig { inputs, outputs, .. } = config;
    if inputs.len() != outputs.len() {
        return Err(Error::invalid_arg("model configuration must have equal input/output pairs"));
    }
    for (input, output) in inputs.iter().zip(outputs) {
        check_name(&input.name, "input", "INPUT")?;
        check_name(&output.name, "output", "OUTPUT")?;
    }
    let mut pairs = Vec::with_capacity(outputs.len());
    for (position, output) in outputs.iter().enumerate() {
        let number = output.name.strip_prefix("OUTPUT");
        let input = inputs.iter().position(|input| input.name.strip_prefix("INPUT") == number);
        let input = input.ok_or_else(|| Error::invalid_arg("expected input and output indices to match"))?;
        check_pair(&inputs[input], output)?;
        let absent = inputs[input].optional.then(|| absent(&inputs[input], config)).transpose()?;
        pairs.push(Pair { input, output: position, absent });
    }
    pairs.sort_by(|a, b| outputs[a.output].name.cmp(&outputs[b.output].name));
    Ok(pairs)
}

fn check_name(name: &str, side: &str, prefix: &str) -> Result<()> {
    if name.starts_with(prefix) {
        return Ok(());
    }
    Err(Error::invalid_arg(format!("expected {side} name to follow {prefix}<index> pattern, got '{name}'")))
}

fn check_pair(input: &InputConfig, output: &OutputConfig) -> Result<()> {
    if input.datatype != output.datatype {
        return Err(Error::invalid_arg(format!(
            "expected input and output datatype to match, got {} and {}",
            input.datatype.config_name(),
            output.datatype.config_name()
        )));
    }
    let given = input.reshape.as_ref().unwrap_or(&input.dims);
    let back = output.reshape.as_ref().unwrap_or(&output.dims);
    if given != back {
        return Err(Error::invalid_arg(format!(
            "expected input and output shape to match, got {} and {}",
            Dims(given),
            Dims(back)
        )));
    }
    Ok(())
}

/// Variable dimensions count as 1.
fn absent(input: &InputConfig, config: &ModelConfig) -> Result<Absent> {
    let dims = input.reshape.as_ref().unwrap_or(&input.dims);
    let dims: Vec<i64> = dims.iter().map(|dim| if *dim == -1 { 1 } else { *dim }).collect();
    let element = input.datatype.size_bytes().unwrap_or(EMPTY_STRING_BYTES);
    let row_bytes = shape::element_count(&dims).and_then(|count| count.checked_mul(element));
    let fits = |bytes: &usize| {
        bytes.checked_mul(config.max_batch_size.max(1) as usize).is_some_and(|all| all <= MAX_ABSENT_BYTES)
    };
    let row_bytes = row_bytes.filter(fits).ok_or_else(|| {
        Error::invalid_arg(format!(
            "optional input '{}' of model '{}' may be left out, for which more than {MAX_ABSENT_BYTES} bytes of zeros \
             would have to be answered",
            input.name, config.name
        ))
    })?;
    Ok(Absent { dims, row_bytes })
}

#[cfg(test)]
mod tests {
    use nereid_core::DataType::{self, Bytes, Fp32, Int32};

    use super::*;

    fn input(name: &str, datatype: DataType, dims: &[i64]) -> InputConfig {
        let (dims, reshape) = (dims.to_vec(), None);
        InputConfig {
            name: name.into(),
            datatype,
            dims,
            reshape,
            optional: false,
            allow_ragged_batch: false,
            form: Default::default(),
        }
    }

    fn output(name: &str, datatype: DataType, dims: &[i64]) -> OutputConfig {
        OutputConfig {
            name: name.into(),
            datatype,
            dims: dims.to_vec(),
            reshape: None,
            form: Default::default(),
        }
    }

    fn pairs(inputs: Vec<InputConfig>, outputs: Vec<OutputConfig>) -> Result<Vec<Pair>, String> {
        let config =
            ModelConfig { name: "m".into(), max_batch_size: 8, inputs, outputs, ..Default::default() };
        of(&config).map_err(|e| e.with_code())
    }

    #[test]
    fn outputs_find_their_inputs_in_the_order_of_their_names() {
        let inputs = ["INPUT10", "INPUT2", "INPUT_x"].map(|name| input(name, Fp32, &[4]));
        let outputs = ["OUTPUT_x", "OUTPUT2", "OUTPUT10"].map(|name| output(name, Fp32, &[4]));
        let found = pairs(inputs.into(), outputs.into()).unwrap();
        let found: Vec<_> = found.iter().map(|pair| (pair.output, pair.input)).collect();
        assert_eq!(found, [(2, 0), (1, 1), (0, 2)]);
        assert_eq!(pairs(vec![], vec![]), Ok(vec![]));
    }

    #[test]
    fn what_is_no_identity() {
        let check = |inputs: &[InputConfig], outputs: &[OutputConfig], text: &str| {
            let error = pairs(inputs.to_vec(), outputs.to_vec()).unwrap_err();
            assert_eq!(error, format!("Invalid argument: {text}"));
        };
        let (x, y) = (input("INPUT0", Fp32, &[4]), output("OUTPUT0", Fp32, &[4]));
        check(std::slice::from_ref(&x), &[], "model configuration must have equal input/output pairs");
        check(
            &[input("x", Fp32, &[4])],
            std::slice::from_ref(&y),
            "expected input name to follow INPUT<index> pattern, got 'x'",
        );
        check(
            std::slice::from_ref(&x),
            &[output("y", Fp32, &[4])],
            "expected output name to follow OUTPUT<index> pattern, got 'y'",
        );
        check(
            std::slice::from_ref(&x),
            &[output("OUTPUT1", Fp32, &[4])],
            "expected input and output indices to match",
        );
        check(
            std::slice::from_ref(&x),
            &[output("OUTPUT0", Bytes, &[4])],
            "expected input and output datatype to match, got TYPE_FP32 and TYPE_STRING",
        );
        check(
            std::slice::from_ref(&x),
            &[output("OUTPUT0", Fp32, &[2, -1])],
            "expected input and output shape to match, got [4] and [2,-1]",
        );
        let reshaped = InputConfig { reshape: Some(vec![2, 2]), ..x };
        check(&[reshaped], &[y], "expected input and output shape to match, got [2,2] and [4]");
    }

    #[test]
    fn what_stands_for_inputs_that_may_be_left_out() {
        let absent = |datatype, dims: &[i64]| {
            let input = InputConfig { optional: true, ..input("INPUT0", datatype, dims) };
            let pairs = pairs(vec![input], vec![output("OUTPUT0", datatype, dims)]);
            pairs.map(|pairs| pairs[0].absent.clone().unwrap())
        };
        assert_eq!(absent(Int32, &[3, -1]), Ok(Absent { dims: vec![3, 1], row_bytes: 12 }));
        assert_eq!(absent(Bytes, &[5]), Ok(Absent { dims: vec![5], row_bytes: 20 }));
        let most = (MAX_ABSENT_BYTES / 4 / 8) as i64;
        assert_eq!(absent(Fp32, &[most]).unwrap().row_bytes, MAX_ABSENT_BYTES / 8);
        for dims in [&[most + 1][..], &[i64::MAX], &[i64::MAX, 8]] {
            let error = absent(Fp32, dims).unwrap_err();
            assert!(error.contains("'INPUT0' of model 'm' may be left out"), "{error}");
        }
    }
}
