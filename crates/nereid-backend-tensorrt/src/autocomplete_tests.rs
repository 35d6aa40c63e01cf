//! Tests of `autocomplete`: the cases of Triton's own tests of configs for plans, and what they leave out.

use std::path::Path;

use nereid_core::DataType::{self, Fp32, Int8, Int32, Int64};
use nereid_core::backend::DeclaredGroup;
use nereid_core::config::TensorForm::{Linear, NonLinear, Shape};
use nereid_tensorrt::TensorDataType;

use super::*;
use crate::testing::{
    TestEngine, chw32, fixed, input, output, tensor, variable, variable_profiles, with_shape_tensor,
};

/// What a config says before it is completed.
#[derive(Clone, Default)]
struct Given<'a> {
    max_batch_size: u32,
    inputs: Vec<DeclaredTensor<'a>>,
    outputs: Vec<DeclaredTensor<'a>>,
    profiles: Vec<&'a str>,
    has_scheduler: bool,
}

impl Given<'_> {
    fn complete(&self, engine: &TestEngine) -> Result<AutoComplete, String> {
        let request = AutoCompleteRequest {
            model: "m",
            model_dir: Path::new("m"),
            op_libraries: &[],
            version_dir: Path::new("m/1"),
            model_file: Path::new("m/1/model.plan"),
            cc_model_filenames: Default::default(),
            max_batch_size: self.max_batch_size,
            default_max_batch_size: 4,
            inputs: self.inputs.clone(),
            batch_inputs: 0,
            outputs: self.outputs.clone(),
            has_scheduler: self.has_scheduler,
            groups: self
                .profiles
                .iter()
                .map(|profile| DeclaredGroup { gpu: Some(0), profiles: vec![profile] })
                .collect(),
        };
        complete(&request, engine.info()).map_err(|e| e.with_code())
    }

    #[track_caller]
    fn refused(&self, engine: &TestEngine, expected: &str) {
        assert_eq!(self.complete(engine).unwrap_err(), expected);
    }
}

fn known<'a>(name: &'a str, datatype: DataType, dims: &'a [i64]) -> DeclaredTensor<'a> {
    DeclaredTensor { name, datatype: Some(datatype), dims, ..Default::default() }
}

fn spec(name: &str, datatype: DataType, dims: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, dims: dims.to_vec(), reshape: None, form: Linear }
}

/// Both inputs and both outputs with these dims.
fn four<'a>(dims: &'a [i64]) -> Given<'a> {
    Given {
        inputs: vec![known("INPUT0", Fp32, dims), known("INPUT1", Fp32, dims)],
        outputs: vec![known("OUTPUT0", Fp32, dims), known("OUTPUT1", Fp32, dims)],
        ..Default::default()
    }
}

fn specs_of(dims: &[i64]) -> [Option<Vec<TensorSpec>>; 2] {
    let pair = |a: &str, b: &str| Some(vec![spec(a, Fp32, dims), spec(b, Fp32, dims)]);
    [pair("INPUT0", "INPUT1"), pair("OUTPUT0", "OUTPUT1")]
}

#[test]
fn nothing_given() {
    for (engine, dims) in [(fixed(), 16), (variable(), -1)] {
        let [inputs, outputs] = specs_of(&[dims]);
        let expected = AutoComplete { max_batch_size: Some(8), inputs, outputs, dynamic_batching: true };
        assert_eq!(Given::default().complete(&engine), Ok(expected));
    }
}

#[test]
fn everything_given() {
    // no_name_platform: the scheduler is added all the same.
    let given = Given { max_batch_size: 8, ..four(&[16]) };
    let got = given.complete(&fixed()).unwrap();
    assert_eq!((got.max_batch_size, got.dynamic_batching), (None, true));
    let got = given.complete(&variable()).unwrap(); // no_name_platform_variable
    assert_eq!((got.max_batch_size, got.dynamic_batching), (None, true));
    let got = Given { has_scheduler: true, ..given.clone() }.complete(&fixed()).unwrap();
    assert!(!got.dynamic_batching);
    // By what the engine can, not by what the config asks for.
    assert!(Given { max_batch_size: 1, ..given }.complete(&fixed()).unwrap().dynamic_batching);
}

#[test]
fn some_things_given() {
    // incomplete_input
    let given = Given {
        inputs: vec![
            DeclaredTensor { name: "INPUT0", datatype: Some(Fp32), ..Default::default() },
            DeclaredTensor { name: "INPUT1", dims: &[16], ..Default::default() },
        ],
        ..Default::default()
    };
    let [inputs, outputs] = specs_of(&[16]);
    let expected = AutoComplete { max_batch_size: Some(8), inputs, outputs, dynamic_batching: true };
    assert_eq!(given.complete(&fixed()), Ok(expected));
    // What is not listed is not added.
    let one = Given { outputs: vec![known("OUTPUT1", Fp32, &[])], ..Default::default() };
    assert_eq!(one.complete(&fixed()).unwrap().outputs, Some(vec![spec("OUTPUT1", Fp32, &[16])]));
}

#[test]
fn hints_about_batching() {
    // hint_for_no_batch
    let got = four(&[-1, 16]).complete(&fixed()).unwrap();
    assert_eq!((got.max_batch_size, got.dynamic_batching), (None, false));
    assert_eq!([got.inputs, got.outputs], specs_of(&[-1, 16]));
    let got = four(&[16]).complete(&fixed()).unwrap();
    assert_eq!(got.max_batch_size, Some(8));
    // Two dimensions less are no batch.
    let deep = TestEngine::default().tensor(input("INPUT0", &[-1, 4, 4])).profile(&[(
        "INPUT0",
        &[1, 4, 4],
        &[8, 4, 4],
        &[8, 4, 4],
    )]);
    let given = Given { inputs: vec![known("INPUT0", Fp32, &[16])], ..Default::default() };
    assert_eq!(given.complete(&deep).unwrap().max_batch_size, None);
    // Given in the shape that the engine wants.
    let reshaped = DeclaredTensor { reshape: Some(&[16]), ..known("INPUT0", Fp32, &[4, 4]) };
    let given = Given { inputs: vec![reshaped], ..Default::default() };
    assert_eq!(given.complete(&fixed()).unwrap().max_batch_size, Some(8));
    // A ragged tensor hints by itself, and ends the search.
    let ragged = DeclaredTensor { allow_ragged_batch: true, ..known("INPUT0", Fp32, &[-1]) };
    let mut given = Given { inputs: vec![ragged, known("unknown", Fp32, &[1])], ..four(&[-1, 16]) };
    assert_eq!(given.complete(&fixed()).unwrap().max_batch_size, Some(8));
    given.inputs.reverse();
    given.refused(
        &fixed(),
        "Invalid argument: unexpected inference input 'unknown', allowed inputs are: INPUT0, INPUT1",
    );
}

#[test]
fn contradictions() {
    const CONTRADICTION: &str = "Internal: unable to autofill for 'm', model tensor configurations are contradicting each \
                                 other in terms of whether batching is supported";
    // bad_input_shape, bad_output_shape
    let mut given = Given { max_batch_size: 8, ..four(&[16]) };
    given.inputs[1].dims = &[16, 1];
    given.refused(&fixed(), CONTRADICTION);
    let mut given = Given { max_batch_size: 8, ..four(&[16]) };
    given.outputs[1].dims = &[16, 1];
    given.refused(&fixed(), CONTRADICTION);
    // mixed_batch_hint_dims, mixed_batch_hint_shape_values
    let mixed = |values: &'static [i64], output: &'static [i64]| Given {
        inputs: vec![known("DUMMY_INPUT0", Fp32, &[-1, -1]), known("INPUT0", Int32, values)],
        outputs: vec![known("DUMMY_OUTPUT0", Fp32, output), known("OUTPUT0", Int32, &[2])],
        ..Default::default()
    };
    mixed(&[2], &[-1, -1, -1]).refused(&with_shape_tensor(), CONTRADICTION);
    mixed(&[3], &[-1, -1]).refused(&with_shape_tensor(), CONTRADICTION);
    assert!(mixed(&[2], &[-1, -1]).complete(&with_shape_tensor()).is_ok());
    // The other way round it is for the check at load to say.
    let given = Given {
        inputs: vec![known("INPUT0", Fp32, &[-1, 16]), known("INPUT1", Fp32, &[16])],
        ..Default::default()
    };
    assert_eq!(given.complete(&fixed()).unwrap().max_batch_size, Some(8));
}

#[test]
fn tensors_that_are_not_there() {
    let mut given = Given { max_batch_size: 8, ..four(&[16]) };
    given.inputs.insert(0, known("INPUT_EXTRA", Fp32, &[16])); // too_many_inputs
    given.refused(
        &fixed(),
        "Invalid argument: unexpected inference input 'INPUT_EXTRA', allowed inputs are: INPUT0, INPUT1",
    );
    let mut given = Given { max_batch_size: 8, ..four(&[16]) };
    given.outputs[0].name = "OUTPUT_UNKNOWN";
    given.refused(
        &fixed(),
        "Invalid argument: unexpected inference output 'OUTPUT_UNKNOWN', allowed outputs are: OUTPUT0, OUTPUT1",
    );
    given.outputs[0].name = "INPUT0"; // on the other side
    given.refused(
        &fixed(),
        "Invalid argument: unexpected inference output 'INPUT0', allowed outputs are: OUTPUT0, OUTPUT1",
    );
}

#[test]
fn wrong_marks() {
    let mut given = Given { max_batch_size: 8, ..four(&[16]) };
    given.inputs[0].is_shape_tensor = true;
    given.refused(&fixed(), "Invalid argument: 'INPUT0' is incorrectly specified as a shape tensor.");
    let mut given = Given { max_batch_size: 8, ..four(&[16]) };
    given.outputs[1].is_non_linear = true;
    given.refused(
        &fixed(),
        "Invalid argument: 'OUTPUT1' uses a linear IO format, but 'is_non_linear_format_io' is incorrectly set to true in \
         the model configuration.",
    );
}

#[test]
fn shape_tensors_and_layouts() {
    // no_config_shape_tensor
    let got = Given::default().complete(&with_shape_tensor()).unwrap();
    let values = |name, datatype| TensorSpec { form: Shape, ..spec(name, datatype, &[2]) };
    let expected = AutoComplete {
        max_batch_size: Some(8),
        inputs: Some(vec![values("INPUT0", Int32), spec("DUMMY_INPUT0", Fp32, &[-1, -1])]),
        outputs: Some(vec![spec("DUMMY_OUTPUT0", Fp32, &[-1, -1]), values("OUTPUT0", Int64)]),
        dynamic_batching: true,
    };
    assert_eq!(got, expected);
    // no_config_non_linear_format_io
    let engine = TestEngine::default()
        .tensor(chw32(input("x", &[-1, -1, 2, 1])))
        .tensor(output("y", &[-1, -1, 2, 1]))
        .profile(&[("x", &[1, 1, 2, 1], &[8, 13, 2, 1], &[8, 32, 2, 1])]);
    let got = Given::default().complete(&engine).unwrap();
    let packed = TensorSpec { form: NonLinear, ..spec("x", Fp32, &[-1, 2, 1]) };
    assert_eq!(got.inputs, Some(vec![packed.clone()]));
    assert_eq!(got.outputs, Some(vec![spec("y", Fp32, &[-1, 2, 1])]));
    let unmarked = Given { inputs: vec![known("x", Fp32, &[-1, 2, 1])], ..Default::default() };
    assert_eq!(unmarked.complete(&engine).unwrap().inputs, Some(vec![packed]));
}

#[test]
fn the_largest_batch() {
    let check = |engine: &TestEngine, profiles: &[&'static str], expected| {
        let given = Given { profiles: profiles.to_vec(), ..Default::default() };
        assert_eq!(given.complete(engine).unwrap().max_batch_size, expected, "{profiles:?}");
    };
    let engine = variable_profiles(&[(1, 1), (1, 8), (1, 4)]);
    check(&engine, &[], Some(1));
    check(&engine, &["0", "1", "2"], Some(8)); // multi_prof_max_bs
    check(&engine, &["2"], Some(4));
    // The least of all inputs, and what is no number is a dimension all the same.
    let engine = TestEngine::default()
        .tensor(input("x", &[-1, 3]))
        .tensor(input("y", &[5]))
        .profile(&[("x", &[1, 3], &[4, 3], &[9, 3]), ("y", &[5], &[5], &[5])]);
    check(&engine, &[], Some(5));
    let fixed = TestEngine::default()
        .tensor(input("x", &[1, 3, 224, 224]))
        .tensor(output("y", &[1, 1000]))
        .profile(&[("x", &[1, 3, 224, 224], &[1, 3, 224, 224], &[1, 3, 224, 224])]);
    check(&fixed, &[], Some(1));
    let got = Given::default().complete(&fixed).unwrap();
    assert_eq!(got.inputs, Some(vec![spec("x", Fp32, &[3, 224, 224])]));
    assert!(!got.dynamic_batching);
    // A scalar has no rows; neither has what is not there.
    let scalar = TestEngine::default().tensor(input("x", &[])).profile(&[("x", &[], &[], &[])]);
    check(&scalar, &[], None);
    check(&TestEngine::default().tensor(output("y", &[3])), &[], None);
}

#[test]
fn sizes_that_do_not_go_together() {
    Given { max_batch_size: 16, ..four(&[16]) }.refused(
        &fixed(),
        "Internal: autofill failed for model 'm': configuration specified max-batch 16 but TensorRT engine only supports \
         max-batch 8",
    );
    Given { max_batch_size: 8, ..four(&[-1, 16]) }.refused(
        &fixed(),
        "Internal: autofill failed for model 'm': configuration specified max-batch 8 but TensorRT engine only supports \
         max-batch 0",
    );
    let scalar = TestEngine::default().tensor(input("x", &[])).tensor(output("y", &[1])).profile(&[(
        "x",
        &[],
        &[],
        &[],
    )]);
    let given = Given { outputs: vec![known("y", Fp32, &[])], ..Default::default() };
    assert!(given.complete(&scalar).is_ok());
    let reshaped = DeclaredTensor { reshape: Some(&[]), ..known("y", Fp32, &[1]) };
    assert!(Given { outputs: vec![reshaped], ..Default::default() }.complete(&scalar).is_ok());
    let ragged = DeclaredTensor { allow_ragged_batch: true, ..known("x", Fp32, &[1]) };
    Given { inputs: vec![ragged], ..Default::default() }.refused(
        &scalar,
        "Internal: autofill failed for model 'm': model tensor shape configuration hints for dynamic batching but the \
         underlying engine doesn't support batching.",
    );
}

#[test]
fn profiles_that_are_not_there() {
    let refused = |profile, expected: &str| {
        Given { profiles: vec![profile], ..Default::default() }
            .refused(&variable_profiles(&[(1, 8), (1, 4)]), expected);
    };
    let outside = |profile: &str| {
        format!(
            "Internal: unable to autofill for 'm', configuration specified invalid profile {profile} . Number of profiles \
             supported by TensorRT engine: 2"
        )
    };
    refused("3", &outside("3"));
    refused("-1", &outside("-1"));
    refused("x", "Invalid argument: unable to parse 'x': stoi");
    refused("", "Invalid argument: profile name must not be empty");
}

#[test]
fn scalars_get_a_shape() {
    let engine = TestEngine::default().tensor(input("x", &[-1])).tensor(output("y", &[-1])).profile(&[(
        "x",
        &[1],
        &[4],
        &[8],
    )]);
    let got = Given::default().complete(&engine).unwrap();
    let row = |name| TensorSpec { reshape: Some(vec![]), ..spec(name, Fp32, &[1]) };
    assert_eq!((got.inputs, got.outputs), (Some(vec![row("x")]), Some(vec![row("y")])));
}

#[test]
fn types_that_a_config_cannot_name() {
    let engine = TestEngine::default()
        .tensor(tensor(TensorMode::Input, "x", TensorDataType::Fp8, &[-1, 4]))
        .tensor(output("y", &[-1, 4]))
        .profile(&[("x", &[1, 4], &[4, 4], &[8, 4])]);
    Given::default().refused(
        &engine,
        "Invalid argument: model input 'x' must specify 'data_type' for m: the engine has it in TensorRT's type FP8, which \
         a model configuration cannot name",
    );
    let given = Given { inputs: vec![known("x", Int8, &[4])], ..Default::default() };
    assert_eq!(given.complete(&engine).unwrap().inputs, Some(vec![]));
}
