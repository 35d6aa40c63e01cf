//! `model_warmup` of a config: from the message to what the program trusts. Whether the samples fit the model, and
//! where their data comes from, is not looked at here.

use nereid_core::config::{WarmUpData, WarmUpInput, WarmUpSample};
use nereid_core::{DataType, Error, Result};
use nereid_protocol::inference::ModelWarmup;
use nereid_protocol::inference::model_warmup::Input;
use nereid_protocol::inference::model_warmup::input::InputDataType;

/// The samples to run; one with a batch size of 0 is none.
///
/// # Errors
/// `InvalidArg`: an input lacks its type, or what it is filled with.
pub(crate) fn samples(warm_ups: &[ModelWarmup]) -> Result<Vec<WarmUpSample>> {
    warm_ups.iter().filter(|sample| sample.batch_size > 0).map(sample).collect()
}

fn sample(sample: &ModelWarmup) -> Result<WarmUpSample> {
    let mut inputs =
        sample.inputs.iter().map(|(name, given)| input(name, given)).collect::<Result<Vec<_>>>()?;
    inputs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(WarmUpSample {
        name: sample.name.clone(),
        batch_size: sample.batch_size,
        count: sample.count.max(1),
        inputs,
    })
}

fn input(name: &str, input: &Input) -> Result<WarmUpInput> {
    let data = match &input.input_data_type {
        // The flag's value does not count, in Triton neither.
        Some(InputDataType::ZeroData(_)) => WarmUpData::Zero,
        Some(InputDataType::RandomData(_)) => WarmUpData::Random,
        Some(InputDataType::InputDataFile(file)) => WarmUpData::File(file.clone()),
        None => {
            return Err(Error::invalid_arg(format!(
                "[request id: <id_unknown>] warmup setting expects input '{name}' to have input_data_type set"
            )));
        }
    };
    let datatype = DataType::from_number(input.data_type).ok_or_else(|| {
        Error::invalid_arg(format!("warmup setting expects input '{name}' to have data_type set"))
    })?;
    Ok(WarmUpInput { name: name.to_owned(), datatype, dims: input.dims.clone(), data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warm_up(batch_size: u32, data: Option<InputDataType>, data_type: i32) -> ModelWarmup {
        let input = Input { data_type, dims: vec![2], input_data_type: data };
        ModelWarmup {
            name: "s".into(),
            batch_size,
            inputs: [("b".to_owned(), input.clone()), ("a".to_owned(), input)].into(),
            count: 0,
        }
    }

    #[test]
    fn samples_are_taken_over() {
        let zero = Some(InputDataType::ZeroData(false));
        assert_eq!(samples(&[warm_up(0, None, 0), warm_up(0, zero.clone(), 11)]), Ok(vec![]));
        let [sample] = &samples(&[warm_up(3, zero, 11)]).unwrap()[..] else { panic!("one sample") };
        assert_eq!((&*sample.name, sample.batch_size, sample.count), ("s", 3, 1));
        let inputs: Vec<_> = sample.inputs.iter().map(|i| (&*i.name, i.datatype, &i.data)).collect();
        let expected = |name| (name, DataType::Fp32, &WarmUpData::Zero);
        assert_eq!(inputs, [expected("a"), expected("b")]);
    }

    #[test]
    fn what_an_input_must_say() {
        let error = |data, data_type| {
            let error = samples(&[warm_up(1, data, data_type)]).unwrap_err().with_code();
            error.replace("'a'", "?").replace("'b'", "?")
        };
        assert_eq!(
            error(None, 11),
            "Invalid argument: [request id: <id_unknown>] warmup setting expects input ? to have input_data_type set"
        );
        assert_eq!(
            error(Some(InputDataType::RandomData(true)), 0),
            "Invalid argument: warmup setting expects input ? to have data_type set"
        );
    }
}
