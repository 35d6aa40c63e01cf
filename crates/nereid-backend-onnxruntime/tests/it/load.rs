//! What a load refuses, and in which words.

use nereid_core::DataType::{Bytes, Fp32, Int32};
use nereid_core::ModelConfig;
use nereid_core::config::{Accelerator, InstanceKind, InstanceSpec};

use crate::fixture::{Fixture, cpu, input, output, parts, unary_config};
use crate::onnx::{Graph, floats, unary};

/// Loads a negation of `[-1,2]` with a changed config.
#[track_caller]
fn check(change: impl FnOnce(&mut ModelConfig), expected: &str) {
    let mut config = unary_config(8, Fp32, &[2]);
    change(&mut config);
    assert_eq!(Fixture::new(config, &unary("Neg", Fp32, &[-1, 2])).load_error(), expected);
}

fn parameter(key: &str, value: &str) -> impl FnOnce(&mut ModelConfig) {
    let pair = (key.to_owned(), value.to_owned());
    move |config| config.parameters.extend([pair])
}

#[test]
fn configs_that_do_not_fit() {
    check(
        |c| c.inputs[0].datatype = Int32,
        "Invalid argument: unable to load model 'm', configuration expects datatype TYPE_INT32 for input 'x', model \
         provides TYPE_FP32",
    );
    check(
        |c| c.outputs[0].datatype = Bytes,
        "Invalid argument: unable to load model 'm', configuration expects datatype TYPE_STRING for output 'y', model \
         provides TYPE_FP32",
    );
    check(
        |c| c.inputs.push(input("x2", Fp32, &[2])),
        "Invalid argument: unable to load model 'm', configuration expects 2 inputs, model provides 1",
    );
    check(
        |c| c.outputs.push(output("outputx", Fp32, &[2])),
        "Invalid argument: unexpected inference output 'outputx', allowed outputs are: y",
    );
    check(
        |c| c.inputs[0].dims = vec![3],
        "Invalid argument: model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,2]) but the model \
         configuration specifies 2 dimensions (an initial batch dimension because max_batch_size > 0 followed by the \
         explicit tensor shape, making complete shape [-1,3])",
    );
    let fixture = Fixture::new(unary_config(8, Fp32, &[2]), &unary("Neg", Fp32, &[1, 2]));
    assert_eq!(
        fixture.load_error(),
        "Invalid argument: model 'm', tensor 'x': for the model to support batching the shape should have at least 1 \
         dimension and the first dimension must be -1; but shape expected by the model is [1,2]"
    );
    let fixture = Fixture::new(unary_config(8, Fp32, &[1]), &unary("Neg", Fp32, &[]));
    assert_eq!(
        fixture.load_error(),
        "Invalid argument: model 'm', tensor 'x': for the model to support batching the shape should have at least 1 \
         dimension and the first dimension must be -1; but shape expected by the model is []"
    );
}

#[test]
fn parameters_that_do_not_parse() {
    check(
        parameter("execution_mode", "2"),
        "Invalid argument: Invalid configuration value provided. Expected values for  execution_mode are 0 or 1 but \
         got 2 .",
    );
    check(
        parameter("intra_op_thread_count", "two"),
        "Invalid argument: failed to convert 'two' to integral number",
    );
    check(
        parameter("inter_op_thread_count", ""),
        "Invalid argument: failed to convert '' to integral number",
    );
    check(parameter("enable_mem_arena", "maybe"), "Invalid argument: failed to convert 'maybe' to boolean");
    check(parameter("enable_mem_pattern", "2"), "Invalid argument: failed to convert '2' to boolean");
}

#[test]
fn every_parameter_is_accepted() {
    let parameters = [
        ("execution_mode", "1"),
        ("intra_op_thread_count", "2"),
        ("inter_op_thread_count", "2"),
        ("session.use_device_allocator_for_initializers", "1"),
        ("enable_mem_arena", "0"),
        ("enable_mem_pattern", "False"),
        ("memory.enable_memory_arena_shrinkage", ""),
        ("an_unknown_one", "x"),
    ];
    for level in [None, Some(-1), Some(0), Some(1), Some(2)] {
        let mut config = unary_config(8, Fp32, &[2]);
        config.parameters = parameters.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        config.optimization.graph_level = level;
        let fixture = Fixture::new(config, &unary("Neg", Fp32, &[-1, 2]));
        let request = fixture.request(&[("x", &[1, 2], &floats(&[1.0, 2.0]))]);
        let outputs = fixture.run_one(&mut *fixture.instance(), request);
        assert_eq!(parts(&outputs), [("y", &[1, 2][..], &floats(&[-1.0, -2.0])[..])]);
    }
}

#[test]
fn arena_shrinkage_reaches_the_run() {
    let mut config = unary_config(8, Fp32, &[2]);
    config.parameters.insert("memory.enable_memory_arena_shrinkage".into(), "no such device".into());
    let fixture = Fixture::new(config, &unary("Neg", Fp32, &[-1, 2]));
    let request = fixture.request(&[("x", &[1, 2], &floats(&[1.0, 2.0]))]);
    let error = fixture.run(&mut *fixture.instance(), &[request]).unwrap_err();
    assert!(error.message().contains("no such device"), "{error}");
}

#[test]
fn files_that_are_not_models() {
    let fixture = Fixture::new(unary_config(8, Fp32, &[2]), b"not protobuf at all");
    assert_eq!(
        fixture.load_error(),
        "Internal: onnx runtime error 7: Load model from {dir}/1/model.onnx failed:Protobuf parsing failed."
    );
    std::fs::write(fixture.file(), unary("NoSuchOperator", Fp32, &[-1, 2])).unwrap();
    let error = fixture.load_error();
    assert!(
        error.starts_with("Internal: onnx runtime error ") && error.contains("NoSuchOperator"),
        "{error}"
    );
    std::fs::remove_file(fixture.file()).unwrap();
    assert_eq!(fixture.load_error(), "Internal: failed to stat file {dir}/1/model.onnx");
}

#[test]
fn a_directory_holds_the_model() {
    let fixture = Fixture::new(unary_config(8, Fp32, &[2]), &[]);
    std::fs::remove_file(fixture.file()).unwrap();
    std::fs::create_dir(fixture.file()).unwrap();
    assert_eq!(
        fixture.load_error(),
        "Unavailable: unable to find '{dir}/1/model.onnx/model.onnx' for model instance 'm'"
    );
    std::fs::write(fixture.file().join("model.onnx"), unary("Neg", Fp32, &[-1, 2])).unwrap();
    fixture.load().unwrap();
}

#[test]
fn mistakes_come_in_order() {
    // A wrong parameter is reported before the missing file, and that before a config that does not fit.
    let mut config = unary_config(8, Int32, &[2]);
    config.parameters.insert("execution_mode".into(), "x".into());
    let fixture = Fixture::new(config.clone(), &[]);
    std::fs::remove_file(fixture.file()).unwrap();
    assert_eq!(fixture.load_error(), "Invalid argument: failed to convert 'x' to integral number");
    // Of two wrong parameters, the execution mode comes first.
    config.parameters.insert("execution_mode".into(), "2".into());
    config.parameters.insert("intra_op_thread_count".into(), "y".into());
    let error = Fixture::new(config.clone(), &[]).load_error();
    assert!(error.contains("execution_mode are 0 or 1 but got 2"), "{error}");
    config.parameters.clear();
    let fixture = Fixture::new(config, b"broken");
    assert!(fixture.load_error().starts_with("Internal: onnx runtime error 7: "));
}

#[test]
fn tensors_that_are_not_tensors() {
    let model = Graph::new()
        .sequence_input("x", Fp32)
        .output("y", nereid_core::DataType::Int64, &[])
        .node("SequenceLength", &["x"], &["y"])
        .build();
    let fixture = Fixture::new(unary_config(0, Fp32, &[2]), &model);
    assert_eq!(
        fixture.load_error(),
        "Unsupported: Unsupported ONNX Type 'ONNX_TYPE_SEQUENCE' for I/O 'x', expected 'ONNX_TYPE_TENSOR'."
    );
}

#[test]
fn accelerators_that_are_not_there() {
    let accelerator = |name: &str| vec![Accelerator { name: name.into(), ..Default::default() }];
    for name in ["openvino", "warp_drive"] {
        check(
            |c| c.optimization.cpu_accelerators = accelerator(name),
            &format!("Invalid argument: unknown Execution Accelerator '{name}' is requested"),
        );
    }
}

#[test]
fn an_op_library_that_is_not_there() {
    let mut config = unary_config(8, Fp32, &[2]);
    config.op_libraries = vec!["libnosuch.so".into()];
    let error = Fixture::new(config, &unary("Neg", Fp32, &[-1, 2])).load_error();
    assert!(error.starts_with("Internal: onnx runtime error ") && error.contains("libnosuch.so"), "{error}");
}

#[test]
fn a_gpu_instance_without_a_gpu_provider() {
    let gpu =
        InstanceSpec { name: "m_0_0".into(), kind: InstanceKind::Gpu { device: 0 }, ..Default::default() };
    let mut config = unary_config(8, Fp32, &[2]);
    config.instances = vec![cpu(), gpu.clone()];
    let fixture = Fixture::new(config, &unary("Neg", Fp32, &[-1, 2]));
    let model = fixture.load().unwrap();
    // A library with CUDA fails otherwise where there is no GPU, and not at all where there is one.
    if let Err(error) = model.create_instance(&gpu) {
        assert!(
            error.with_code() == "Internal: GPU instances not supported"
                || error.message().starts_with("onnx runtime error "),
            "{error}"
        );
    }
    model.create_instance(&cpu()).unwrap();
}
