//! Auto-complete on real files.

use nereid_core::DataType::{Bytes, Fp32};
use nereid_core::Result;
use nereid_core::backend::{AutoComplete, AutoCompleteRequest, Backend, DeclaredTensor, TensorSpec};
use tempfile::tempdir;

use crate::fixture::backend;
use crate::onnx::Graph;

fn complete(model: &[u8], has_both: bool) -> Result<AutoComplete> {
    let dir = tempdir().unwrap();
    let file = dir.path().join("model.onnx");
    std::fs::write(&file, model).unwrap();
    let declared = if has_both { vec![DeclaredTensor::default()] } else { vec![] };
    backend().auto_complete(&AutoCompleteRequest {
        model: "m",
        model_dir: dir.path(),
        model_file: &file,
        op_libraries: &[],
        version_dir: dir.path(),
        cc_model_filenames: Default::default(),
        max_batch_size: 0,
        default_max_batch_size: 4,
        inputs: declared.clone(),
        batch_inputs: 0,
        outputs: declared,
        has_scheduler: false,
        groups: vec![],
    })
}

fn spec(name: &str, datatype: nereid_core::DataType, dims: &[i64], reshape: Option<Vec<i64>>) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, dims: dims.into(), reshape, form: Default::default() }
}

#[test]
fn tensors_in_the_order_of_the_graph() {
    let model = Graph::new()
        .input("z", Fp32, &[-1, 28])
        .input("a", Bytes, &[-1, -1])
        .input("w", Fp32, &[-1])
        .initializer("w", Fp32, &[1], &[0; 4])
        .output("y", Fp32, &[-1, 28])
        .output("b", Bytes, &[-1, -1])
        .output("s", Fp32, &[-1])
        .node("Add", &["z", "w"], &["y"])
        .node("Identity", &["a"], &["b"])
        .node("Identity", &["w"], &["s"])
        .build();
    let expected = AutoComplete {
        max_batch_size: Some(4),
        inputs: Some(vec![spec("z", Fp32, &[28], None), spec("a", Bytes, &[-1], None)]),
        outputs: Some(vec![
            spec("y", Fp32, &[28], None),
            spec("b", Bytes, &[-1], None),
            spec("s", Fp32, &[1], Some(vec![])),
        ]),
        dynamic_batching: true,
    };
    assert_eq!(complete(&model, false), Ok(expected));
    assert_eq!(complete(b"not even looked at", true), Ok(AutoComplete::default()));
}

#[test]
fn scalars_of_a_model_that_does_not_batch() {
    let model = Graph::new().input("x", Fp32, &[]).output("y", Fp32, &[]).node("Neg", &["x"], &["y"]).build();
    let expected = AutoComplete {
        inputs: Some(vec![spec("x", Fp32, &[1], None)]),
        outputs: Some(vec![spec("y", Fp32, &[1], None)]),
        ..Default::default()
    };
    assert_eq!(complete(&model, false), Ok(expected));
}

#[test]
fn types_without_a_name() {
    let model = Graph::new()
        .odd_input("x", 17, &[2]) // FLOAT8E4M3FN
        .output("y", Fp32, &[2])
        .node_with("Cast", &["x"], &["y"], &[crate::onnx::Attribute::Int("to", 1)])
        .build();
    let error = complete(&model, false).unwrap_err();
    assert_eq!(error.message(), "model input 'x' must specify 'data_type' for m");
}

#[test]
fn broken_files() {
    let error = complete(b"not protobuf at all", false).unwrap_err();
    assert!(error.message().starts_with("onnx runtime error 7: "), "{error}");
}
