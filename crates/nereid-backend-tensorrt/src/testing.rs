//! Engines that no TensorRT has built, and configs for them, for the tests of this crate.

use nereid_core::DataType;
use nereid_core::ModelConfig;
use nereid_core::config::{
    BatchInput, BatchInputElement, BatchInputKind, BatchOutput, InputConfig, OutputConfig, TensorForm,
};
use nereid_tensorrt::{
    Profile, ProfileInput, TensorDataType, TensorFormat, TensorInfo, TensorLocation, TensorMode,
};

use crate::engine_info::EngineInfo;

/// Name of an input, and its smallest, best and largest shape.
pub(crate) type Shapes<'a> = (&'a str, &'a [i64], &'a [i64], &'a [i64]);

/// What an [`EngineInfo`] looks at.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestEngine {
    pub(crate) tensors: Vec<TensorInfo>,
    pub(crate) profiles: Vec<Profile>,
}

impl TestEngine {
    pub(crate) fn info(&self) -> EngineInfo<'_> {
        EngineInfo { tensors: &self.tensors, profiles: &self.profiles }
    }

    /// With another tensor. Its shapes in profiles are for [`Self::profile`] to say.
    pub(crate) fn tensor(mut self, tensor: TensorInfo) -> Self {
        self.tensors.push(tensor);
        self
    }

    /// With another profile.
    pub(crate) fn profile(mut self, inputs: &[Shapes<'_>]) -> Self {
        let input = |(name, min, opt, max): &Shapes<'_>| ProfileInput {
            name: (*name).to_owned(),
            min: min.to_vec(),
            opt: opt.to_vec(),
            max: max.to_vec(),
            values: None,
        };
        self.profiles.push(Profile { inputs: inputs.iter().map(input).collect() });
        self
    }

    /// With values, from `min` to `max`, of shape tensor `name` under the last profile.
    pub(crate) fn values(mut self, name: &str, min: &[i64], opt: &[i64], max: &[i64]) -> Self {
        let profile = self.profiles.last_mut().unwrap();
        let shape = vec![i64::try_from(max.len()).unwrap()];
        let values = Some([min.to_vec(), opt.to_vec(), max.to_vec()]);
        let (min, opt, max) = (shape.clone(), shape.clone(), shape);
        profile.inputs.push(ProfileInput { name: name.to_owned(), min, opt, max, values });
        self
    }
}

pub(crate) fn tensor(mode: TensorMode, name: &str, datatype: TensorDataType, shape: &[i64]) -> TensorInfo {
    TensorInfo {
        name: name.to_owned(),
        mode,
        datatype,
        shape: shape.to_vec(),
        location: TensorLocation::Device,
        is_shape_io: false,
        format: TensorFormat::Linear,
        vectorized_dim: -1,
        components_per_element: -1,
        bytes_per_component: -1,
    }
}

/// FP32, as most.
pub(crate) fn input(name: &str, shape: &[i64]) -> TensorInfo {
    tensor(TensorMode::Input, name, TensorDataType::Float, shape)
}

/// FP32, as most.
pub(crate) fn output(name: &str, shape: &[i64]) -> TensorInfo {
    tensor(TensorMode::Output, name, TensorDataType::Float, shape)
}

/// A tensor of sizes in host memory.
pub(crate) fn shape_tensor(mode: TensorMode, name: &str, datatype: TensorDataType, count: i64) -> TensorInfo {
    TensorInfo { location: TensorLocation::Host, is_shape_io: true, ..tensor(mode, name, datatype, &[count]) }
}

/// `tensor` with its second dimension in vectors of 32.
pub(crate) fn chw32(tensor: TensorInfo) -> TensorInfo {
    TensorInfo {
        format: TensorFormat::Chw32,
        vectorized_dim: 1,
        components_per_element: 32,
        bytes_per_component: 4,
        ..tensor
    }
}

/// Two inputs and two outputs of `[-1, 16]`, one to eight rows.
pub(crate) fn fixed() -> TestEngine {
    let range: [&[i64]; 3] = [&[1, 16], &[4, 16], &[8, 16]];
    let [min, opt, max] = range;
    TestEngine::default()
        .tensor(input("INPUT0", &[-1, 16]))
        .tensor(input("INPUT1", &[-1, 16]))
        .tensor(output("OUTPUT0", &[-1, 16]))
        .tensor(output("OUTPUT1", &[-1, 16]))
        .profile(&[("INPUT0", min, opt, max), ("INPUT1", min, opt, max)])
}

/// The same with `[-1, -1]`, where the second size is from 4 to 32.
pub(crate) fn variable() -> TestEngine {
    variable_profiles(&[(1, 8)])
}

/// The same with a profile for each of `rows`, the least and the most.
pub(crate) fn variable_profiles(rows: &[(i64, i64)]) -> TestEngine {
    let mut engine = TestEngine::default()
        .tensor(input("INPUT0", &[-1, -1]))
        .tensor(input("INPUT1", &[-1, -1]))
        .tensor(output("OUTPUT0", &[-1, -1]))
        .tensor(output("OUTPUT1", &[-1, -1]));
    for &(least, most) in rows {
        let (min, opt, max) = ([least, 4], [most, 16], [most, 32]);
        engine = engine.profile(&[("INPUT0", &min, &opt, &max), ("INPUT1", &min, &opt, &max)]);
    }
    engine
}

/// A shape tensor of three values, the batch first, that says how large the other tensors are.
pub(crate) fn with_shape_tensor() -> TestEngine {
    TestEngine::default()
        .tensor(shape_tensor(TensorMode::Input, "INPUT0", TensorDataType::Int32, 3))
        .tensor(input("DUMMY_INPUT0", &[-1, -1, -1]))
        .tensor(output("DUMMY_OUTPUT0", &[-1, -1, -1]))
        .tensor(shape_tensor(TensorMode::Output, "OUTPUT0", TensorDataType::Int64, 3))
        .profile(&[("DUMMY_INPUT0", &[1, 1, 1], &[8, 4, 4], &[8, 32, 32])])
        .values("INPUT0", &[1, 1, 1], &[8, 4, 4], &[8, 32, 32])
}

/// A ragged input `x`, an input `counts` that is made of it for each batch, and an output `y` that is given out by the shapes
/// of `x`: an engine and its config.
pub(crate) fn ragged() -> (TestEngine, ModelConfig) {
    let engine = TestEngine::default()
        .tensor(input("counts", &[-1]))
        .tensor(input("x", &[-1]))
        .tensor(output("y", &[-1, -1]))
        .profile(&[("x", &[1], &[64], &[256]), ("counts", &[1], &[4], &[16])]);
    let made = BatchInput {
        kind: BatchInputKind::AccumulatedElementCount,
        element: BatchInputElement::Fp32,
        targets: vec!["counts".into()],
        source: 0,
    };
    let config = ModelConfig {
        name: "m".into(),
        max_batch_size: 8,
        inputs: vec![InputConfig { allow_ragged_batch: true, ..declared("x", DataType::Fp32, &[-1]) }],
        outputs: vec![declared_output("y", DataType::Fp32, &[3, 3])],
        batch_inputs: vec![made],
        batch_outputs: vec![BatchOutput { output: 0, source: 0 }],
        ..Default::default()
    };
    (engine, config)
}

/// A config's input.
pub(crate) fn declared(name: &str, datatype: DataType, dims: &[i64]) -> InputConfig {
    InputConfig {
        name: name.into(),
        datatype,
        dims: dims.to_vec(),
        reshape: None,
        optional: false,
        allow_ragged_batch: false,
        form: TensorForm::Linear,
    }
}

/// A config's output.
pub(crate) fn declared_output(name: &str, datatype: DataType, dims: &[i64]) -> OutputConfig {
    OutputConfig { name: name.into(), datatype, dims: dims.to_vec(), reshape: None, form: TensorForm::Linear }
}
