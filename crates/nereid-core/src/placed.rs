//! The tensors of one request that are on a GPU, checked: only such as the model's config allows there.

use crate::{DeviceSlice, DeviceTensors, Error, InputTensor, ModelConfig, Result};

/// Where on a GPU tensors of a request are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placed {
    /// By position in the request.
    inputs: Vec<(usize, DeviceSlice)>,
    /// By index of the config.
    pub(crate) outputs: Option<Box<Places>>,
}

/// Places for outputs, by index of the config.
pub(crate) type Places = Vec<(usize, DeviceSlice)>;

impl Placed {
    /// The tensors in `device` of a request with `inputs`. A place that the config does not allow is left out: its output
    /// comes in host memory.
    ///
    /// # Errors
    /// `Internal` for an input that may not be there: a frontend has not asked.
    pub(crate) fn new(device: DeviceTensors, inputs: &[InputTensor], config: &ModelConfig) -> Result<Self> {
        let index = |at: usize| inputs.get(at).and_then(|input| config.input_index(&input.name));
        for (at, slice) in &device.inputs {
            if index(*at).is_some_and(|index| !config.input_may_be_on_device(index)) {
                let (name, model) = (&inputs[*at].name, &config.name);
                return Err(Error::internal(format!(
                    "input '{name}' of model '{model}' is in the memory of GPU {}, where the model does not take it",
                    slice.device
                )));
            }
        }
        let place = |(name, slice): (String, DeviceSlice)| {
            let index = config.output_index(&name)?;
            config.output_may_be_on_device(index).then_some((index, slice))
        };
        let outputs: Vec<_> = device.outputs.into_iter().filter_map(place).collect();
        Ok(Self { inputs: device.inputs, outputs: (!outputs.is_empty()).then(|| Box::new(outputs)) })
    }

    /// Where the input at position `at` of the request is, if it is on a GPU.
    pub(crate) fn input(&self, at: usize) -> Option<DeviceSlice> {
        self.inputs.iter().find(|(input, _)| *input == at).map(|(_, slice)| slice.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{BatchOutput, Ensemble, InputConfig, OutputConfig, Scheduling, TensorForm};
    use crate::{DataType, InferRequest, Shape, ValidRequest};

    fn slice() -> DeviceSlice {
        DeviceSlice::new(3, 0x1000, 16, Arc::new(()))
    }

    fn request(config: &ModelConfig) -> InferRequest {
        let tensor = InputTensor {
            name: "INPUT0".into(),
            datatype: config.inputs[0].datatype,
            shape: Shape::from_slice(&[1, 4]),
            data: Default::default(),
        };
        let device = DeviceTensors { inputs: vec![(0, slice())], outputs: vec![("OUTPUT0".into(), slice())] };
        InferRequest { inputs: vec![tensor], device: Some(Box::new(device)), ..Default::default() }
    }

    fn config() -> ModelConfig {
        let (dims, reshape, form, datatype) = (vec![4], None, TensorForm::Linear, DataType::Fp32);
        let input = InputConfig {
            name: "INPUT0".into(),
            datatype,
            dims: dims.clone(),
            reshape: None,
            optional: false,
            allow_ragged_batch: false,
            form,
        };
        let output = OutputConfig { name: "OUTPUT0".into(), datatype, dims, reshape, form };
        ModelConfig { max_batch_size: 8, inputs: vec![input], outputs: vec![output], ..Default::default() }
    }

    /// Whether the input is taken, and the place.
    fn check(change: impl FnOnce(&mut ModelConfig), expected: (bool, bool)) {
        let mut config = config();
        change(&mut config);
        let may = (config.input_may_be_on_device(0), config.output_may_be_on_device(0));
        assert_eq!(may, expected);
        let valid = ValidRequest::new(request(&config), &config);
        assert_eq!(valid.is_ok(), expected.0, "{valid:?}");
        if let Ok(valid) = valid {
            assert_eq!(valid.device_output(0).is_some(), expected.1);
            assert_eq!(valid.inputs()[0].device.as_ref().unwrap().address, 0x1000);
        }
    }

    #[test]
    fn who_reads_data_wants_it_in_host_memory() {
        check(|_| (), (true, true));
        check(|c| c.scheduling = Scheduling::DynamicBatching(Default::default()), (true, true));
        check(|c| c.scheduling = Scheduling::Ensemble(Ensemble::default()), (false, false));
        check(|c| c.response_cache = true, (false, false));
        check(|c| c.inputs[0].datatype = DataType::Bool, (false, true));
        check(|c| c.inputs[0].datatype = DataType::Bytes, (false, true));
        check(|c| c.inputs[0].form = TensorForm::Shape, (false, true));
        check(|c| c.inputs[0].form = TensorForm::NonLinear, (false, true));
        check(|c| c.outputs[0].datatype = DataType::Bytes, (true, false));
        check(|c| c.outputs[0].datatype = DataType::Bool, (true, true));
        check(|c| c.outputs[0].form = TensorForm::Shape, (true, false));
        check(|c| c.batch_outputs = vec![BatchOutput { output: 0, source: 0 }], (true, false));
    }

    #[test]
    fn sizes_are_checked_as_in_host_memory() {
        let config = config();
        let mut request = request(&config);
        request.device.as_mut().unwrap().inputs[0].1.byte_size = 15;
        let error = ValidRequest::new(request, &config).unwrap_err();
        assert!(error.message().contains("input byte size mismatch"), "{error}");
        assert!(error.message().contains("Expected 16, got 15"), "{error}");
    }
}
