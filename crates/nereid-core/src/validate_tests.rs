//! Each message once, against the texts that a real Triton gives.

use bytes::Bytes;

use super::*;
use crate::config::OutputConfig;

fn input(name: &str, datatype: DataType, dims: &[i64]) -> InputConfig {
    let dims = dims.to_vec();
    InputConfig {
        name: name.into(),
        datatype,
        dims,
        reshape: None,
        optional: false,
        allow_ragged_batch: false,
        form: Default::default(),
    }
}

fn config(max_batch_size: u32, inputs: Vec<InputConfig>) -> ModelConfig {
    let output = OutputConfig {
        name: "out".into(),
        datatype: DataType::Fp32,
        dims: vec![1],
        reshape: None,
        form: Default::default(),
    };
    ModelConfig { name: "m".into(), max_batch_size, inputs, outputs: vec![output], ..Default::default() }
}

fn tensor(name: &str, datatype: DataType, shape: &[i64], data: &[u8]) -> InputTensor {
    InputTensor {
        name: name.into(),
        datatype,
        shape: Shape::from_slice(shape),
        data: Bytes::copy_from_slice(data),
    }
}

fn fp32(name: &str, shape: &[i64], bytes: usize) -> InputTensor {
    tensor(name, DataType::Fp32, shape, &vec![0; bytes])
}

fn validate(config: &ModelConfig, inputs: Vec<InputTensor>) -> Result<ValidRequest> {
    ValidRequest::new(InferRequest { inputs, ..Default::default() }, config)
}

#[track_caller]
fn refused(config: &ModelConfig, inputs: Vec<InputTensor>, expected: &str) {
    let error = validate(config, inputs).map(|_| ()).unwrap_err();
    assert_eq!(
        error.message().strip_prefix("[request id: <id_unknown>] ").unwrap_or(error.message()),
        expected
    );
    assert_eq!(error.code(), crate::ErrorCode::InvalidArg);
}

const NOTE: &str = "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be \
                    prepended to each input shape. If you want to specify the full shape including the batch dim in \
                    your input dims config, try setting max_batch_size to zero. See the model configuration docs for \
                    more info on max_batch_size.";

#[test]
fn shapes_types_and_sizes() {
    let c = config(8, vec![input("a", DataType::Fp32, &[4])]);
    let valid = validate(&c, vec![fp32("a", &[2, 4], 32)]).unwrap();
    assert_eq!((valid.batch_size(), valid.inference_count()), (2, 2));
    assert!(valid.wants(0));
    for (tensor, expected) in [
        (fp32("a", &[9, 4], 0), "inference request batch-size must be <= 8 for 'm'".to_owned()),
        (fp32("a", &[(1 << 32) + 1, 4], 0), "inference request batch-size must be <= 8 for 'm'".to_owned()),
        (fp32("a", &[-1, 4], 0), "inference request batch-size must be <= 8 for 'm'".to_owned()),
        (fp32("a", &[], 0), "input 'a' has no shape but model requires batch dimension for 'm'".to_owned()),
        (
            fp32("a", &[1, 5], 20),
            format!("unexpected shape for input 'a' for model 'm'. Expected [-1,4], got [1,5]. {NOTE}"),
        ),
        (
            fp32("a", &[1, -1], 20),
            "All input dimensions should be specified for input 'a' for model 'm', got [1,-1]".to_owned(),
        ),
        (
            fp32("a", &[1, 4], 12),
            "input byte size mismatch for input 'a' for model 'm'. Expected 16, got 12".to_owned(),
        ),
        (
            fp32("a", &[0, 4], 0),
            "input byte size mismatch for input 'a' for model 'm'. Expected 16, got 0".to_owned(),
        ),
        (
            tensor("a", DataType::Int32, &[1, 4], &[0; 16]),
            "inference input 'a' data-type is 'INT32', but model 'm' expects 'FP32'".to_owned(),
        ),
        (fp32("b", &[1, 4], 16), "unexpected inference input 'b' for model 'm'".to_owned()),
    ] {
        refused(&c, vec![tensor], &expected);
    }
}

#[test]
fn counts_and_duplicates() {
    let mut c = config(0, vec![input("a", DataType::Fp32, &[-1]), input("b", DataType::Fp32, &[-1])]);
    let a = || fp32("a", &[1], 4);
    refused(
        &c,
        vec![a()],
        "expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['a'], but missing required input(s) ['b']. \
         Please provide all required input(s).",
    );
    refused(
        &c,
        vec![],
        "expected 2 inputs but got 0 inputs for model 'm'. Got input(s) [], but missing required input(s) \
         ['a','b']. Please provide all required input(s).",
    );
    refused(&c, vec![a(), a()], "input 'a' already exists in request");
    for count in [2, 8, 9, 1000] {
        let mut many: Vec<_> = (1..count).map(|i| fp32(&i.to_string(), &[1], 4)).collect();
        many.push(fp32("1", &[1], 4));
        refused(&c, many, "input '1' already exists in request");
    }
    c.inputs[0].optional = true;
    let valid = validate(&c, vec![fp32("b", &[0], 0)]).unwrap();
    assert!(valid.input(0).is_none());
    assert_eq!(valid.input(1).unwrap().data.len(), 0, "an empty tensor is a tensor");
    refused(
        &c,
        vec![a(), fp32("b", &[1], 4), fp32("c", &[1], 4)],
        "expected number of inputs between 1 and 2 but got 3 inputs for model 'm'. Got input(s) ['c','b','a'], but \
         missing required input(s) ]. Please provide all required input(s).",
    );
}

#[test]
fn a_required_input_is_missed_even_when_an_optional_one_makes_up_the_count() {
    let mut c = config(0, vec![input("a", DataType::Fp32, &[-1]), input("b", DataType::Fp32, &[-1])]);
    c.inputs[0].optional = true;
    refused(
        &c,
        vec![fp32("a", &[1], 4)],
        "expected number of inputs between 1 and 2 but got 1 inputs for model 'm'. Got input(s) ['a'], but missing \
         required input(s) ['b']. Please provide all required input(s).",
    );
}

#[test]
fn booleans_become_0_or_1() {
    let c = config(0, vec![input("a", DataType::Bool, &[-1])]);
    for (sent, expected) in [([0, 1, 1], [0, 1, 1]), ([2, 0, 255], [1, 0, 1])] {
        let valid = validate(&c, vec![tensor("a", DataType::Bool, &[3], &sent)]).unwrap();
        assert_eq!(valid.inputs()[0].data[..], expected);
    }
}

#[test]
fn batch_sizes_agree() {
    let c = config(8, vec![input("b", DataType::Fp32, &[-1]), input("a", DataType::Fp32, &[-1])]);
    refused(
        &c,
        vec![fp32("b", &[2, 1], 8), fp32("a", &[1, 1], 4)],
        "input 'b' batch size does not match other inputs for 'm'",
    );
    refused(
        &c,
        vec![fp32("a", &[0, 0], 0), fp32("b", &[0, 0], 0)],
        "inference request batch-size must be >= 1 for 'm', input 'b' has shape [0,0]",
    );
    let valid = validate(&c, vec![fp32("a", &[1, 3], 12), fp32("b", &[1, 1], 4)]).unwrap();
    assert_eq!(valid.inputs().iter().map(|i| i.shape[1]).collect::<Vec<_>>(), [1, 3], "order of the config");
}

#[test]
fn strings() {
    let c = config(0, vec![input("s", DataType::Bytes, &[-1])]);
    let s = |shape: &[i64], data: &[u8]| vec![tensor("s", DataType::Bytes, shape, data)];
    assert!(validate(&c, s(&[2], b"\x01\0\0\0x\0\0\0\0")).is_ok());
    assert!(validate(&c, s(&[0], b"")).is_ok());
    refused(
        &c,
        s(&[2], b"\x01\0\0\0x"),
        "expected 2 string elements for inference input 's' for model 'm', got 1",
    );
    refused(
        &c,
        s(&[1], b"\0\0\0\0\0\0\0\0"),
        "unexpected number of string elements 2 for inference input 's' for model 'm', expecting 1",
    );
    refused(
        &c,
        s(&[1], b"\0\0"),
        "incomplete string length indicator for inference input 's' for model 'm', expecting 4 bytes but only 2 \
         bytes available. Please make sure the string length indicator is in one buffer.",
    );
    refused(
        &c,
        s(&[1], b"\x64\0\0\0ab"),
        "incomplete string data for inference input 's', expecting string of length 100 but only 2 bytes available",
    );
}

#[test]
fn overflowing_shapes_are_refused_before_anything_is_multiplied() {
    let c = config(0, vec![input("a", DataType::Fp32, &[-1, -1])]);
    refused(
        &c,
        vec![fp32("a", &[1 << 40, 1 << 40], 4)],
        "input 'a' for model 'm' has a shape [1099511627776,1099511627776] whose byte size overflows",
    );
}

#[test]
fn reshape_takes_variable_dims_in_order() {
    let mut c = config(4, vec![input("a", DataType::Fp32, &[2, -1, -1])]);
    c.inputs[0].reshape = Some(vec![-1, 1, 2, -1]);
    let valid = validate(&c, vec![fp32("a", &[1, 2, 3, 5], 120)]).unwrap();
    assert_eq!(valid.inputs()[0].shape[..], [1, 3, 1, 2, 5]);
}

#[test]
fn outputs_are_looked_up_and_carry_no_request_id() {
    let c = config(0, vec![]);
    let request = |outputs: &[&str]| InferRequest {
        id: "7".into(),
        outputs: outputs.iter().map(|s| (*s).to_owned()).collect(),
        ..Default::default()
    };
    let error = ValidRequest::new(request(&["nope"]), &c).unwrap_err();
    assert_eq!(error.message(), "unexpected inference output 'nope' for model 'm'");
    let error = ValidRequest::new(request(&["out", "out"]), &c).unwrap_err();
    assert_eq!(error.message(), "[request id: 7] output 'out' already exists in request");
}

#[test]
fn outputs_are_wanted_in_any_order() {
    let mut c = config(0, vec![]);
    c.outputs =
        (0..20).map(|i| OutputConfig { name: format!("o{i}").into(), ..c.outputs[0].clone() }).collect();
    for wanted in [vec![3], vec![7, 2], (0..20).rev().step_by(2).collect()] {
        let outputs = wanted.iter().map(|i| format!("o{i}")).collect();
        let request = ValidRequest::new(InferRequest { outputs, ..Default::default() }, &c).unwrap();
        for index in 0..20 {
            assert_eq!(request.wants(index), wanted.contains(&index), "{index} of {wanted:?}");
        }
    }
}

#[test]
fn a_shape_tensor_has_no_batch_dimension() {
    let mut config = config(4, vec![input("x", DataType::Fp32, &[2]), input("s", DataType::Int32, &[3])]);
    config.inputs[1].form = TensorForm::Shape;
    let shape = |dims: &[i64], bytes: usize| tensor("s", DataType::Int32, dims, &vec![0; bytes]);
    let request = validate(&config, vec![fp32("x", &[4, 2], 32), shape(&[3], 12)]).unwrap();
    assert_eq!((request.batch_size(), &request.inputs()[1].shape[..]), (4, &[3][..]));
    let x = || fp32("x", &[4, 2], 32);
    refused(
        &config,
        vec![x(), shape(&[4, 3], 48)],
        "unexpected shape for input 's' for model 'm'. Expected [3], got [4,3]. ",
    );
    refused(
        &config,
        vec![x(), shape(&[3], 8)],
        "input byte size mismatch for input 's' for model 'm'. Expected 12, got 8",
    );
}

#[test]
fn the_size_of_a_vectorized_layout_is_for_the_backend_to_check() {
    let mut config = config(4, vec![input("x", DataType::Fp32, &[3, 2])]);
    config.inputs[0].form = TensorForm::NonLinear;
    assert_eq!(validate(&config, vec![fp32("x", &[1, 3, 2], 32)]).unwrap().inputs()[0].data.len(), 32);
    refused(
        &config,
        vec![fp32("x", &[1, 4, 2], 32)],
        &format!("unexpected shape for input 'x' for model 'm'. Expected [-1,3,2], got [1,4,2]. {NOTE}"),
    );
}
