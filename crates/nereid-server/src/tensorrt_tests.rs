//! TensorRT engines from a model repository to a served model, on a stand-in for TensorRT and a GPU in host memory: what
//! becomes of configs. The cases are those that Triton tests with plans.

use std::path::Path;
use std::sync::Arc;

use nereid_backend_tensorrt::{Options, TensorRt};
use nereid_cuda::host::HostDevice;
use nereid_protocol::config_text;
use nereid_protocol::inference::ModelConfig;
use nereid_repository::{Options as RepositoryOptions, Repository};

const FIXED: &str = "op add_sub
in INPUT0 0 -1x16 1x16 4x16 8x16
in INPUT1 0 -1x16 1x16 4x16 8x16
out OUTPUT0 0 -1x16
out OUTPUT1 0 -1x16
";
const VARIABLE: &str = "op add_sub
in INPUT0 0 -1x-1 1x4 4x16 8x32
in INPUT1 0 -1x-1 1x4 4x16 8x32
out OUTPUT0 0 -1x-1
out OUTPUT1 0 -1x-1
";
/// As many rows as each profile takes.
const PROFILES: &str = "op add_sub
in INPUT0 0 -1x-1 1x1 1x16 1x33 1x1 8x16 8x33 1x1 4x16 4x33
in INPUT1 0 -1x-1 1x1 1x16 1x33 1x1 8x16 8x33 1x1 4x16 4x33
out OUTPUT0 0 -1x-1
out OUTPUT1 0 -1x-1
";
const SHAPE_TENSOR: &str = "op reshape
in DUMMY_INPUT0 0 -1x-1x-1 1x1x1 4x4x4 8x32x32
in INPUT0 3 3 location=host shape_io values=1,1,1:4,4,4:8,32,32
out DUMMY_OUTPUT0 0 -1x-1x-1
out OUTPUT0 8 3 location=host shape_io
";
const PACKED: &str = "op identity
in INPUT0 0 -1x-1x2x1 1x1x2x1 4x13x2x1 8x32x2x1 format=5 vectorized_dim=1 components=32 bytes=4
out OUTPUT0 0 -1x-1x2x1
";
const RESHAPED: &str = "op identity
in INPUT0 0 -1x2x2x4 1x2x2x4 4x2x2x4 8x2x2x4
in INPUT1 0 -1x1x2x1 1x1x2x1 4x1x2x1 8x1x2x1
out OUTPUT0 0 -1x2x2x4
out OUTPUT1 0 -1x1x2x1
";

/// What becomes of a model with this plan and, if it has one, config: the config that is shown, or why it is not served.
fn load(plan: &str, config: Option<&str>) -> Result<ModelConfig, String> {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("m");
    std::fs::create_dir_all(model.join("1")).unwrap();
    std::fs::write(model.join("1/model.plan"), format!("FAKEPLAN\n{plan}end\n")).unwrap();
    if let Some(config) = config {
        std::fs::write(model.join("config.pbtxt"), config).unwrap();
    }
    let repository = open(dir.path());
    let found = repository.find("m", None);
    let states = repository.version_states("m");
    found
        .map(|version| ModelConfig::clone(&version.wire_config))
        .map_err(|_| states.first().map(|(_, _, reason)| reason.clone()).unwrap_or_default())
}

fn open(dir: &Path) -> Repository {
    let options = Options {
        library: Some(nereid_fakes::library("fake_nvinfer_10")),
        devices: Some(vec![HostDevice::new(0).device()]),
        ..Default::default()
    };
    let backend = Arc::new(TensorRt::new(options).unwrap());
    let options = RepositoryOptions { paths: vec![dir.to_owned()], gpus: vec![0], ..Default::default() };
    Repository::open(options, vec![backend]).unwrap()
}

/// The config is completed to `expected`, but for what every config has.
#[track_caller]
fn completed(plan: &str, config: Option<&str>, expected: &str) {
    let common =
        "name: 'm' platform: 'tensorrt_plan' backend: 'tensorrt' default_model_filename: 'model.plan'
        version_policy { latest { num_versions: 1 } }
        optimization { input_pinned_memory { enable: true } output_pinned_memory { enable: true } }";
    let group = "instance_group { name: 'm' count: 1 gpus: 0 kind: KIND_GPU }";
    let group = if expected.contains("instance_group") { "" } else { group };
    let expected = config_text::parse(&format!("{common} {group} {expected}").replace('\'', "\"")).unwrap();
    assert_eq!(load(plan, config), Ok(expected));
}

/// The model is not served, and the reason is `expected`, or contains it.
#[track_caller]
fn refused(plan: &str, config: &str, expected: &str) {
    let reason = load(plan, Some(config)).unwrap_err();
    assert!(reason.contains(expected), "{expected:?} is not in {reason:?}");
}

/// `max_batch_size: 8`, and tensors of `dims`, with what is between the bars in place of one of them.
fn four(max_batch_size: u32, dims: &str, change: &[(&str, &str)]) -> String {
    let tensor = |side: &str, name: &str| {
        let own = change.iter().find(|(changed, _)| *changed == name).map(|(_, own)| *own);
        let fields = own.map_or_else(|| format!("data_type: TYPE_FP32 dims: [{dims}]"), str::to_owned);
        let name =
            change.iter().find(|(old, _)| old.strip_prefix("name ") == Some(name)).map_or(name, |c| c.1);
        format!("{side} {{ name: '{name}' {fields} }}\n")
    };
    let tensors = [("input", "INPUT0"), ("input", "INPUT1"), ("output", "OUTPUT0"), ("output", "OUTPUT1")];
    let tensors: String = tensors.iter().map(|(side, name)| tensor(side, name)).collect();
    let size =
        if max_batch_size == 0 { String::new() } else { format!("max_batch_size: {max_batch_size}\n") };
    (size + &tensors).replace('\'', "\"")
}

const BATCHING: &str = "max_batch_size: 8 dynamic_batching { preferred_batch_size: 8 }";

#[test]
fn configs_are_completed() {
    let given = |dims| format!("{BATCHING} {}", four(0, dims, &[]));
    // no_config, empty_config, and the same with sizes that vary
    for config in [None, Some("")] {
        completed(FIXED, config, &given("16"));
        completed(VARIABLE, config, &given("-1"));
    }
    // incomplete_input, incomplete_output
    let half = "input { name: \"INPUT0\" data_type: TYPE_FP32 } input { name: \"INPUT1\" dims: [16] }";
    completed(FIXED, Some(half), &given("16"));
    completed(FIXED, Some(&half.replace("input", "output").replace("INPUT", "OUTPUT")), &given("16"));
    // no_name_platform
    completed(FIXED, Some(&four(8, "16", &[])), &given("16"));
    completed(VARIABLE, Some(&four(8, "16", &[])), &given("16"));
    // hint_for_no_batch
    let untyped = ("OUTPUT0", "dims: [-1, 16]");
    completed(FIXED, Some(&four(0, "-1, 16", &[untyped])), &four(0, "-1, 16", &[]));
}

#[test]
fn configs_with_profiles_shapes_and_layouts() {
    // multi_prof_max_bs
    let groups = ["0", "1", "2"].map(|profile| format!("instance_group {{ profile: \"{profile}\" }}\n"));
    let expected = ["0", "1", "2"].map(|profile| {
        format!(
            "instance_group {{ name: 'm_{profile}' count: 1 gpus: 0 kind: KIND_GPU profile: '{profile}' }}"
        )
    });
    let expected = format!("{BATCHING} {} {}", expected.concat(), four(0, "-1", &[]));
    completed(PROFILES, Some(&groups.concat()), &expected);
    // no_config_shape_tensor
    completed(
        SHAPE_TENSOR,
        None,
        &format!(
            "{BATCHING}
            input {{ name: 'DUMMY_INPUT0' data_type: TYPE_FP32 dims: [-1, -1] }}
            input {{ name: 'INPUT0' data_type: TYPE_INT32 dims: 2 is_shape_tensor: true }}
            output {{ name: 'DUMMY_OUTPUT0' data_type: TYPE_FP32 dims: [-1, -1] }}
            output {{ name: 'OUTPUT0' data_type: TYPE_INT64 dims: 2 is_shape_tensor: true }}"
        ),
    );
    // no_config_non_linear_format_io
    completed(
        PACKED,
        None,
        &format!(
            "{BATCHING}
            input {{ name: 'INPUT0' data_type: TYPE_FP32 dims: [-1, 2, 1] is_non_linear_format_io: true }}
            output {{ name: 'OUTPUT0' data_type: TYPE_FP32 dims: [-1, 2, 1] }}"
        ),
    );
    // reshape_config_provided
    let reshaped = "
        input { name: \"INPUT0\" data_type: TYPE_FP32 dims: [4, 4] reshape { shape: [2, 2, 4] } }
        input { name: \"INPUT1\" data_type: TYPE_FP32 dims: [2] reshape { shape: [1, 2, 1] } }
        output { name: \"OUTPUT0\" data_type: TYPE_FP32 dims: [2, 2, 4] }
        output { name: \"OUTPUT1\" data_type: TYPE_FP32 dims: [1, 2, 1] }";
    completed(RESHAPED, Some(&format!("max_batch_size: 8 {reshaped}")), &format!("{BATCHING} {reshaped}"));
}

#[test]
fn configs_are_refused() {
    let check = |change: &[(&str, &str)], expected: &str| refused(FIXED, &four(8, "16", change), expected);
    // bad_input_dims, bad_output_dims
    for name in ["INPUT1", "OUTPUT1"] {
        check(
            &[(name, "data_type: TYPE_FP32 dims: [7]")],
            &format!(
                "model 'm', tensor '{name}': the model expects 2 dimensions (shape [-1,16]) but the model configuration \
                 specifies 2 dimensions (an initial batch dimension because max_batch_size > 0 followed by the explicit \
                 tensor shape, making complete shape [-1,7])"
            ),
        );
    }
    // bad_input_shape, bad_output_shape
    for name in ["INPUT1", "OUTPUT1"] {
        check(
            &[(name, "data_type: TYPE_FP32 dims: [16, 1]")],
            "unable to autofill for 'm', model tensor configurations are contradicting each other in terms of whether \
             batching is supported",
        );
    }
    // bad_input_non_linear_format_io and the like
    for name in ["INPUT0", "OUTPUT1"] {
        check(
            &[(name, "data_type: TYPE_FP32 dims: [16] is_non_linear_format_io: true")],
            &format!(
                "'{name}' uses a linear IO format, but 'is_non_linear_format_io' is incorrectly set to true in the model \
                 configuration."
            ),
        );
        check(
            &[(name, "data_type: TYPE_FP32 dims: [16] is_shape_tensor: true")],
            &format!("'{name}' is incorrectly specified as a shape tensor."),
        );
    }
    // bad_input_type, bad_output_type
    check(
        &[("INPUT0", "data_type: TYPE_FP16 dims: [16]")],
        "unexpected datatype TYPE_FP32 for inference input 'INPUT0', expecting TYPE_FP16 for m",
    );
    check(
        &[("OUTPUT1", "data_type: TYPE_INT8 dims: [16]")],
        "unexpected datatype TYPE_FP32 for inference output 'OUTPUT1', expecting TYPE_INT8 for m",
    );
    // unknown_input, unknown_output
    check(
        &[("name INPUT1", "INPUT_UNKNOWN")],
        "unexpected inference input 'INPUT_UNKNOWN', allowed inputs are: INPUT0, INPUT1",
    );
    check(
        &[("name OUTPUT0", "OUTPUT_UNKNOWN")],
        "unexpected inference output 'OUTPUT_UNKNOWN', allowed outputs are: OUTPUT0, OUTPUT1",
    );
}

#[test]
fn configs_of_other_models_are_refused() {
    // bad_dynamic_shapes_max, bad_dynamic_shapes_min
    for dim in ["33", "3"] {
        refused(
            VARIABLE,
            &four(0, dim, &[]),
            &format!(
                "model configuration specified invalid shape for input 'INPUT0' for model m. Error details: model expected \
                 the shape of dimension 1 to be between 4 and 32 but received {dim}"
            ),
        );
    }
    // too_few_inputs
    let all = four(8, "16", &[]);
    let few: Vec<&str> = all.lines().filter(|line| !line.contains("INPUT0")).collect();
    refused(
        FIXED,
        &few.join("\n"),
        "failed to specify the dimensions of all input tensors or values of all input shape tensors",
    );
    // too_many_inputs
    refused(
        FIXED,
        &format!("{all} input {{ name: \"INPUT_EXTRA\" data_type: TYPE_FP32 dims: [16] }}"),
        "unexpected inference input 'INPUT_EXTRA', allowed inputs are: INPUT0, INPUT1",
    );
    // mixed_batch_hint_dims, mixed_batch_hint_shape_values
    for (values, dims) in [("2", "-1, -1, -1"), ("3", "-1, -1")] {
        let config = format!(
            "input {{ name: 'DUMMY_INPUT0' data_type: TYPE_FP32 dims: [-1, -1] }}
            input {{ name: 'INPUT0' data_type: TYPE_INT32 dims: [{values}] }}
            output {{ name: 'DUMMY_OUTPUT0' data_type: TYPE_FP32 dims: [{dims}] }}
            output {{ name: 'OUTPUT0' data_type: TYPE_INT32 dims: [2] }}"
        );
        refused(
            SHAPE_TENSOR,
            &config.replace('\'', "\""),
            "model tensor configurations are contradicting each other in terms of whether batching is supported",
        );
    }
    refused(
        FIXED,
        "instance_group { profile: \"1\" }",
        "unable to autofill for 'm', configuration specified invalid profile 1 . Number of profiles supported by TensorRT \
         engine: 1",
    );
    refused(
        FIXED,
        "instance_group { kind: KIND_CPU }",
        "unable to load model 'm', TensorRT backend supports only GPU device",
    );
    refused(
        FIXED,
        "cc_model_filenames { key: \"9.0\" value: \"../other.plan\" }",
        "cc_model_filenames '../other.plan' of model 'm' is outside the version directory",
    );
}
