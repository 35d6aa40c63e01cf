//! Tests of `check`: the cases of Triton's own tests of configs for plans, and what they leave out.

use nereid_core::DataType::{Bytes, Fp16, Fp32, Int8, Int32, Int64};
use nereid_core::config::{
    BatchInputElement, BatchInputKind, BatchOutput, Control, Direct, Flag, Scheduling, SequenceBatching,
    Strategy,
};
use nereid_tensorrt::{TensorDataType, TensorInfo};

use super::*;
use crate::profiles::chosen;
use crate::testing::{
    TestEngine, chw32, declared, declared_output, fixed, input, output, ragged, shape_tensor, tensor,
    variable, variable_profiles, with_shape_tensor,
};

/// The config that fits [`fixed`].
fn config() -> ModelConfig {
    config_of(&[16])
}

fn config_of(dims: &[i64]) -> ModelConfig {
    ModelConfig {
        name: "m".into(),
        max_batch_size: 8,
        inputs: vec![declared("INPUT0", Fp32, dims), declared("INPUT1", Fp32, dims)],
        outputs: vec![declared_output("OUTPUT0", Fp32, dims), declared_output("OUTPUT1", Fp32, dims)],
        ..Default::default()
    }
}

/// The config that fits [`with_shape_tensor`].
fn shape_config() -> ModelConfig {
    let shape_input = InputConfig { form: TensorForm::Shape, ..declared("INPUT0", Int32, &[2]) };
    let shape_output = OutputConfig { form: TensorForm::Shape, ..declared_output("OUTPUT0", Int64, &[2]) };
    ModelConfig {
        name: "m".into(),
        max_batch_size: 8,
        inputs: vec![shape_input, declared("DUMMY_INPUT0", Fp32, &[-1, -1])],
        outputs: vec![declared_output("DUMMY_OUTPUT0", Fp32, &[-1, -1]), shape_output],
        ..Default::default()
    }
}

fn sequence(controls: Vec<Control>, states: Vec<nereid_core::config::State>) -> Scheduling {
    Scheduling::Sequence(SequenceBatching {
        strategy: Strategy::Direct(Direct::default()),
        max_idle_us: 1,
        controls,
        states,
        iterative: false,
    })
}

fn start() -> Control {
    Control::Start(Flag { no: bytes::Bytes::from_static(&[0; 4]), yes: bytes::Bytes::from_static(&[1; 4]) })
}

fn fit(config: &ModelConfig, engine: &TestEngine, profiles: &[&str]) -> Result<(), String> {
    let names: Vec<String> = profiles.iter().map(|name| (*name).to_owned()).collect();
    let profiles = chosen(&names, engine.profiles.len(), "m_0").unwrap();
    fits(config, engine.info(), &profiles, "m_0").map_err(|e| e.with_code())
}

/// `change` makes of a config that fits `engine` one that is refused with `expected`.
#[track_caller]
fn refused(config: &ModelConfig, engine: &TestEngine, change: impl FnOnce(&mut ModelConfig), expected: &str) {
    assert_eq!(fit(config, engine, &[]), Ok(()));
    let mut config = config.clone();
    change(&mut config);
    assert_eq!(fit(&config, engine, &[]).unwrap_err(), expected);
}

/// The same for a change of the engine.
#[track_caller]
fn refused_engine(
    config: &ModelConfig,
    engine: &TestEngine,
    change: impl FnOnce(&mut TestEngine),
    expected: &str,
) {
    assert_eq!(fit(config, engine, &[]), Ok(()));
    let mut engine = engine.clone();
    change(&mut engine);
    assert_eq!(fit(config, &engine, &[]).unwrap_err(), expected);
}

#[test]
fn what_fits() {
    assert_eq!(fit(&config(), &fixed(), &[]), Ok(()));
    assert_eq!(fit(&config_of(&[16]), &variable(), &[]), Ok(()));
    assert_eq!(fit(&config_of(&[-1]), &variable(), &[]), Ok(()));
    assert_eq!(fit(&shape_config(), &with_shape_tensor(), &[]), Ok(()));
    // reshape_config_provided
    let mut reshaped = config();
    reshaped.inputs[0] = InputConfig { reshape: Some(vec![16]), ..declared("INPUT0", Fp32, &[4, 4]) };
    reshaped.outputs[0] =
        OutputConfig { reshape: Some(vec![16]), ..declared_output("OUTPUT0", Fp32, &[2, 8]) };
    assert_eq!(fit(&reshaped, &fixed(), &[]), Ok(()));
    // hint_for_no_batch
    assert_eq!(fit(&ModelConfig { max_batch_size: 0, ..config_of(&[-1, 16]) }, &fixed(), &[]), Ok(()));
}

#[test]
fn tensors_that_are_not_there() {
    refused(
        &config(),
        &fixed(),
        |config| config.inputs.push(declared("INPUT_EXTRA", Fp32, &[16])),
        "Invalid argument: unable to load model 'm', configuration expects 3 inputs, model provides at most 2",
    );
    refused(
        &config(),
        &fixed(),
        |config| config.inputs[1].name = "INPUT_UNKNOWN".into(),
        "Invalid argument: unexpected inference input 'INPUT_UNKNOWN', allowed inputs are: INPUT0, INPUT1",
    );
    refused(
        &config(),
        &fixed(),
        |config| config.outputs[0].name = "OUTPUT_UNKNOWN".into(),
        "Invalid argument: unexpected inference output 'OUTPUT_UNKNOWN', allowed outputs are: OUTPUT0, OUTPUT1",
    );
}

#[test]
fn tensors_that_are_left_out_or_twice() {
    refused(
        &config(),
        &fixed(),
        |config| drop(config.inputs.remove(0)),
        "Internal: failed to specify the dimensions of all input tensors or values of all input shape tensors",
    );
    refused(
        &config(),
        &fixed(),
        |config| drop(config.outputs.remove(0)),
        "Invalid argument: expected configuration for output 'OUTPUT0' for m_0",
    );
    refused(
        &config(),
        &fixed(),
        |config| config.inputs[1].name = "INPUT0".into(),
        "Invalid argument: input 'INPUT0'  has already appeared as an input or output for m_0",
    );
    refused(
        &config(),
        &fixed(),
        |config| config.outputs[1].name = "OUTPUT0".into(),
        "Invalid argument: output 'OUTPUT0'  has already appeared as an input or output for m_0",
    );
}

#[test]
fn types() {
    refused(
        &config(),
        &fixed(),
        |config| config.inputs[0].datatype = Fp16,
        "Invalid argument: unexpected datatype TYPE_FP32 for inference input 'INPUT0', expecting TYPE_FP16 for m_0",
    );
    refused(
        &config(),
        &fixed(),
        |config| config.outputs[1].datatype = Int8,
        "Invalid argument: unexpected datatype TYPE_FP32 for inference output 'OUTPUT1', expecting TYPE_INT8 for m_0",
    );
    refused(
        &config(),
        &fixed(),
        |config| config.inputs[1].datatype = Bytes,
        "Internal: unsupported datatype TYPE_STRING for input 'INPUT1' for model 'm'",
    );
    for (datatype, name) in [
        (TensorDataType::Fp8, "FP8"),
        (TensorDataType::Int4, "INT4"),
        (TensorDataType::Fp4, "FP4"),
        (TensorDataType::E8m0, "E8M0"),
    ] {
        refused_engine(
            &config(),
            &fixed(),
            |engine| engine.tensors[2].datatype = datatype,
            &format!(
                "Invalid argument: unexpected datatype TYPE_{name} for inference output 'OUTPUT0', expecting TYPE_FP32 for \
                 m_0"
            ),
        );
    }
}

#[test]
fn dims() {
    let text = |name: &str, given: &str| {
        format!(
            "Invalid argument: model 'm', tensor '{name}': the model expects 2 dimensions (shape [-1,16]) but the model \
             configuration specifies {given}"
        )
    };
    const BATCH: &str = "(an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making \
                         complete shape";
    refused(
        &config(),
        &fixed(),
        |config| config.inputs[1].dims = vec![7],
        &text("INPUT1", &format!("2 dimensions {BATCH} [-1,7])")),
    );
    refused(
        &config(),
        &fixed(),
        |config| config.outputs[1].dims = vec![7],
        &text("OUTPUT1", &format!("2 dimensions {BATCH} [-1,7])")),
    );
    refused(
        &config(),
        &fixed(),
        |config| config.outputs[0].reshape = Some(vec![4, 4]),
        &text("OUTPUT0", &format!("3 dimensions {BATCH} [-1,4,4])")),
    );
    refused(
        &ModelConfig { max_batch_size: 0, ..config_of(&[-1, 16]) },
        &fixed(),
        |config| config.inputs[0].dims = vec![16],
        &text("INPUT0", "1 dimensions (shape [16])"),
    );
}

#[test]
fn dims_of_profiles() {
    let outside = |dim: i64, name: &str| {
        format!(
            "Invalid argument: model configuration specified invalid shape for input '{name}' for model m. Error details: \
             model expected the shape of dimension 1 to be between 4 and 32 but received {dim}"
        )
    };
    for dim in [33, 3] {
        // bad_dynamic_shapes_max, bad_dynamic_shapes_min
        refused(
            &config_of(&[16]),
            &variable(),
            |config| *config = config_of(&[dim]),
            &outside(dim, "INPUT0"),
        );
    }
    // Every profile of the instance counts, and only those.
    let mut engine = variable_profiles(&[(1, 8), (1, 4)]);
    engine.profiles[1].inputs[1].max = vec![4, 20];
    let wide = config_of(&[30]);
    assert_eq!(fit(&wide, &engine, &["0"]), Ok(()));
    assert!(fit(&wide, &engine, &["0", "1"]).unwrap_err().contains("between 4 and 20 but received 30"));
    assert!(fit(&wide, &engine, &["1"]).is_err());
}

#[test]
fn marks() {
    refused(
        &config(),
        &fixed(),
        |config| config.inputs[0].form = TensorForm::Shape,
        "Internal: input 'INPUT0' for model 'm' is incorrectly marked as a shape tensor in the model configuration.",
    );
    refused(
        &config(),
        &fixed(),
        |config| config.outputs[0].form = TensorForm::NonLinear,
        "Internal: output 'OUTPUT0' for model 'm' uses a linear IO format, but 'is_non_linear_format_io' is incorrectly set \
         to true in the model configuration.",
    );
    refused(
        &shape_config(),
        &with_shape_tensor(),
        |config| config.inputs[0].form = TensorForm::Linear,
        "Internal: input 'INPUT0' for model 'm' is a shape tensor but the model configuration doesn't mark it as a shape \
         tensor.",
    );
    refused_engine(
        &config(),
        &fixed(),
        |engine| engine.tensors[1] = chw32(engine.tensors[1].clone()),
        "Internal: input 'INPUT1' for model 'm' uses a non-linear IO format, but 'is_non_linear_format_io' is incorrectly \
         set to false in the model configuration.",
    );
}

#[test]
fn layouts() {
    let engine = TestEngine::default()
        .tensor(chw32(input("x", &[-1, 13, 2, 1])))
        .tensor(chw32(output("y", &[-1, 13, 2, 1])))
        .profile(&[("x", &[1, 13, 2, 1], &[4, 13, 2, 1], &[8, 13, 2, 1])]);
    let form = TensorForm::NonLinear;
    let config = ModelConfig {
        name: "m".into(),
        max_batch_size: 8,
        inputs: vec![InputConfig { form, ..declared("x", Fp32, &[13, 2, 1]) }],
        outputs: vec![OutputConfig { form, ..declared_output("y", Fp32, &[13, 2, 1]) }],
        ..Default::default()
    };
    refused_engine(
        &config,
        &engine,
        |engine| engine.tensors[0].vectorized_dim = -1,
        "Invalid argument: unexpected vectorized dim is -1 for non-linear tensor 'x' for m_0",
    );
    refused_engine(
        &config,
        &engine,
        |engine| engine.tensors[1].vectorized_dim = 4,
        "Invalid argument: unexpected vectorized dim 4 with 32 components for tensor 'y' of shape [-1,13,2,1] for m_0",
    );
    refused(
        &config,
        &engine,
        |config| config.batch_outputs = vec![BatchOutput { output: 0, source: 0 }],
        "Invalid argument: unexpected allow-ragged for non-linear output 'y' for m_0",
    );
    let flat = TestEngine::default()
        .tensor(TensorInfo { vectorized_dim: 0, ..chw32(input("x", &[-1])) })
        .tensor(output("y", &[-1]))
        .profile(&[("x", &[1], &[4], &[8])]);
    let ragged = ModelConfig {
        inputs: vec![InputConfig { allow_ragged_batch: true, form, ..declared("x", Fp32, &[-1]) }],
        outputs: vec![declared_output("y", Fp32, &[])],
        ..config
    };
    assert_eq!(
        fit(&ragged, &flat, &[]).unwrap_err(),
        "Internal: unexpected allow-ragged for non-linear input 'x' for m_0"
    );
}

#[test]
fn shape_tensors() {
    let (config, engine) = (shape_config(), with_shape_tensor());
    refused(
        &config,
        &engine,
        |config| config.inputs[0].datatype = Int64,
        "Invalid argument: unexpected datatype TYPE_INT32 in engine for shape input 'INPUT0', expecting TYPE_INT64 for m_0",
    );
    refused(
        &config,
        &engine,
        |config| config.inputs[0].datatype = Fp32,
        "Invalid argument: unexpected datatype TYPE_FP32 in model configuration for shape input 'INPUT0', expecting \
         TYPE_INT32 or TYPE_INT64 for m_0",
    );
    refused(
        &config,
        &engine,
        |config| config.outputs[1].datatype = Int32,
        "Invalid argument: unexpected datatype 'TYPE_INT32 in model configuration for shape output 'OUTPUT0', expecting \
         TYPE_INT64 for m_0",
    );
    refused(
        &config,
        &engine,
        |config| config.inputs[0].dims = vec![3],
        "Internal: unable to load model 'm_0', binding 'INPUT0' shape expected by framework [3] doesn't match model \
         configuration shape [3]",
    );
    refused(
        &config,
        &engine,
        |config| config.batch_outputs = vec![BatchOutput { output: 1, source: 1 }],
        "Invalid argument: batch output 'OUTPUT0' can not be shape binding",
    );
    let scalar = TestEngine::default()
        .tensor(TensorInfo {
            shape: vec![],
            ..shape_tensor(TensorMode::Input, "s", TensorDataType::Int32, 1)
        })
        .profile(&[])
        .values("s", &[1], &[1], &[1]);
    let reshaped =
        InputConfig { reshape: Some(vec![]), form: TensorForm::Shape, ..declared("s", Int32, &[1]) };
    let config = ModelConfig { name: "m".into(), inputs: vec![reshaped], ..Default::default() };
    assert_eq!(fit(&config, &scalar, &[]), Ok(()));
}

#[test]
fn ragged_inputs_and_what_is_made_of_them() {
    let (engine, config) = ragged();
    refused(
        &config,
        &engine,
        |config| config.inputs[0].dims = vec![16],
        "Invalid argument: model 'm', tensor 'x': for the model to support ragged input, the engine shape is: [-1] while the \
         model config shape is: [16]",
    );
    refused(
        &config,
        &engine,
        |config| config.batch_inputs[0].targets.push("more".into()),
        "Not found: input 'more' not found for m_0",
    );
    refused(
        &config,
        &engine,
        |config| config.batch_inputs[0].targets[0] = "y".into(),
        "Invalid argument: input 'y' is expected to be an input in model for m_0",
    );
    refused(
        &config,
        &engine,
        |config| config.batch_inputs[0].element = BatchInputElement::Int32,
        "Invalid argument: unexpected datatype TYPE_FP32 for inference input 'counts', expecting TYPE_INT32 for m_0",
    );
    refused(
        &config,
        &engine,
        |config| config.batch_inputs[0].kind = BatchInputKind::ItemShape,
        "Invalid argument: model 'm', tensor 'counts': the model expects 1 dimensions (shape [-1]) but the model \
         configuration specifies 2 dimensions (an initial batch dimension because max_batch_size > 0 followed by the \
         explicit tensor shape, making complete shape [-1,1])",
    );
    refused(
        &config,
        &engine,
        |config| config.batch_outputs.clear(),
        "Invalid argument: model 'm', tensor 'y': the model expects 2 dimensions (shape [-1,-1]) but the model configuration \
         specifies 3 dimensions (an initial batch dimension because max_batch_size > 0 followed by the explicit tensor \
         shape, making complete shape [-1,3,3])",
    );
}

#[test]
fn controls_and_states_of_sequences() {
    let engine = TestEngine::default()
        .tensor(input("x", &[-1, 2]))
        .tensor(input("start", &[-1, 1]))
        .tensor(tensor(TensorMode::Input, "state_in", TensorDataType::Int32, &[-1, 4]))
        .tensor(output("y", &[-1, 2]))
        .tensor(tensor(TensorMode::Output, "state_out", TensorDataType::Int32, &[-1, 4]))
        .profile(&[
            ("x", &[1, 2], &[4, 2], &[8, 2]),
            ("start", &[1, 1], &[4, 1], &[8, 1]),
            ("state_in", &[1, 4], &[4, 4], &[8, 4]),
        ]);
    let config = ModelConfig {
        name: "m".into(),
        max_batch_size: 8,
        inputs: vec![declared("x", Fp32, &[2])],
        outputs: vec![declared_output("y", Fp32, &[2])],
        injected_inputs: vec![declared("start", Fp32, &[1]), declared("state_in", Int32, &[4])],
        hidden_outputs: vec![declared_output("state_out", Int32, &[4])],
        scheduling: sequence(vec![start()], vec![]),
        ..Default::default()
    };
    refused(
        &config,
        &engine,
        |config| config.injected_inputs[0].name = "begin".into(),
        "Not found: input 'begin' not found for m_0",
    );
    refused(
        &config,
        &engine,
        |config| config.injected_inputs[0].datatype = Int32,
        "Invalid argument: unexpected datatype TYPE_FP32 for inference input 'start', expecting TYPE_INT32 for m_0",
    );
    refused_engine(
        &config,
        &engine,
        |engine| engine.tensors[1].shape = vec![-1, 2],
        "Invalid argument: unexpected shape [-1,2] for control input 'start' for model m: expects all dimensions \
         (conditionally first) to be 1 but the model specified shape [-1,2]",
    );
    refused(
        &config,
        &engine,
        |config| config.injected_inputs[1].dims = vec![5],
        "Invalid argument: model 'm', tensor 'state_in': the model expects 2 dimensions (shape [-1,4]) but the model \
         configuration specifies 2 dimensions (an initial batch dimension because max_batch_size > 0 followed by the \
         explicit tensor shape, making complete shape [-1,5])",
    );
    refused(
        &config,
        &engine,
        |config| config.hidden_outputs[0].name = "state".into(),
        "Not found: output 'state' not found for m_0",
    );
    refused(
        &config,
        &engine,
        |config| config.hidden_outputs[0].datatype = Fp32,
        "Invalid argument: unexpected datatype TYPE_INT32 for inference output 'state_out', expecting TYPE_FP32 for m_0",
    );
    // A state may be an output for clients, too.
    let mut shown = config.clone();
    shown.outputs.push(declared_output("state_out", Int32, &[4]));
    assert_eq!(fit(&shown, &engine, &[]), Ok(()));
    shown.inputs.push(declared("state_in", Int32, &[4]));
    assert_eq!(fit(&shown, &engine, &[]), Ok(()));
}
