//! Which member becomes what, in which shape, and what is refused.

use nereid_core::testing::identity_config;
use nereid_core::{DataType, ErrorCode, Parameter};

use super::*;

const LIMIT: usize = 1000;

/// Inputs by name, type and dims, for a model that batches if `max_batch_size` is not 0.
fn config(max_batch_size: u32, inputs: &[(&str, DataType, &[i64])]) -> ModelConfig {
    let mut config = identity_config(max_batch_size);
    let template = config.inputs[0].clone();
    config.inputs.clear();
    for (name, datatype, dims) in inputs {
        let (name, dims) = ((*name).into(), dims.to_vec());
        config.inputs.push(InputConfig { name, datatype: *datatype, dims, ..template.clone() });
    }
    config
}

fn text_model() -> ModelConfig {
    config(
        0,
        &[("PROMPT", DataType::Bytes, &[1]), ("STREAM", DataType::Bool, &[1]), ("N", DataType::Int32, &[-1])],
    )
}

#[test]
fn members_become_inputs_and_parameters() {
    let body = br#"{"id":"42","STREAM":true,"temperature":0.5,"PROMPT":["hi"],"parameters":{"N":[1,2],"top":3,"x":"y"},
        "parameters":7,"triton_x":false,"sequence_id":1,"temperature":{"ignored":"Triton sees the first"}}"#;
    // A second `parameters` is the first one to Triton, so that its inputs come twice; here it is what it is.
    let error = decode(body, &text_model(), LIMIT).unwrap_err();
    assert_eq!(
        error.message(),
        "Expected JSON object for keyword: 'parameters': attempt to access JSON non-object as object"
    );

    let body = String::from_utf8_lossy(body).replace(r#""parameters":7,"#, "");
    let request = decode(body.as_bytes(), &text_model(), LIMIT).unwrap();
    assert_eq!(request.id, "42");
    let inputs: Vec<_> =
        request.inputs.iter().map(|i| (i.name.as_str(), &i.shape[..], &i.data[..])).collect();
    let (hi, ints) = (b"\x02\0\0\0hi", b"\x01\0\0\0\x02\0\0\0");
    assert_eq!(inputs, [("STREAM", &[1][..], &[1][..]), ("PROMPT", &[1], hi), ("N", &[2], ints)]);
    let parameters = [
        ("id", Parameter::Text("42".into())), // Triton does not leave it out
        ("temperature", Parameter::Double(0.5)),
        ("top", Parameter::Int(3)),
        ("x", Parameter::Text("y".into())),
        ("triton_x", Parameter::Bool(false)),
        ("sequence_id", Parameter::Int(1)),
    ];
    assert_eq!(request.parameters, parameters.map(|(name, value)| (name.to_owned(), value)));
    assert!(request.outputs.is_empty() && request.sequence == Default::default());
}

#[test]
fn shapes_follow_from_the_model_and_the_count() {
    let check = |batch: u32, dims: &[i64], count: usize, expected: Option<&[i64]>| {
        let config = config(batch, &[("x", DataType::Uint8, dims)]);
        let body = format!(r#"{{"x":[{}]}}"#, vec!["1"; count].join(","));
        let found = decode(body.as_bytes(), &config, LIMIT);
        match expected {
            Some(shape) => {
                let input = found.unwrap().inputs.remove(0);
                assert_eq!((&input.shape[..], input.data.len()), (shape, count), "{dims:?}");
            }
            None => {
                let message = "The schema can not convert input 'x' to tensor with proper shape";
                assert_eq!(found.unwrap_err().message(), message, "{dims:?}");
            }
        }
    };
    check(0, &[1], 1, Some(&[1]));
    check(0, &[4], 4, Some(&[4]));
    check(0, &[4], 5, None);
    check(0, &[4], 8, None);
    check(0, &[-1], 7, Some(&[7]));
    check(0, &[-1, 2], 6, Some(&[3, 2]));
    check(0, &[-1, 2], 5, None);
    check(0, &[-1, -1], 6, Some(&[1, 6]));
    check(0, &[-1, 2, -1, 3], 12, Some(&[1, 2, 2, 3]));
    check(8, &[1], 1, Some(&[1, 1]));
    check(8, &[2, 2], 12, Some(&[3, 2, 2]));
    check(8, &[-1], 6, Some(&[1, 6]));
    check(8, &[4], 1, None);
    check(0, &[], 1, Some(&[]));
    check(0, &[], 2, None);
    check(0, &[i64::MAX, 2], 2, None);
    check(0, &[0], 2, None); // no config has it
}

#[test]
fn an_input_without_elements_has_no_shape() {
    let config = config(8, &[("x", DataType::Fp32, &[4]), ("s", DataType::Bytes, &[1])]);
    let request = decode(br#"{"x":[],"s":[[],[]]}"#, &config, LIMIT).unwrap();
    assert!(request.inputs.iter().all(|input| input.shape.is_empty() && input.data.is_empty()));
    assert_eq!(request.inputs.len(), 2);
}

#[test]
fn refusals() {
    let check = |body: &str, code: ErrorCode, message: &str| {
        let error = decode(body.as_bytes(), &text_model(), LIMIT).unwrap_err();
        assert_eq!((error.code(), error.message()), (code, message), "{body}");
    };
    let (internal, invalid) = (ErrorCode::Internal, ErrorCode::InvalidArg);
    let type_of = |name: &str| {
        format!("parameter '{name}' has invalid type. It should be either 'int', 'bool', or 'string'.")
    };
    check("", internal, "failed to parse the request JSON buffer: The document is empty. at 0");
    check("[1]", internal, "attempt to get members for non-object");
    check(r#"{"id":42}"#, internal, "Unable to parse 'id': attempt to access JSON non-string as string");
    check(
        r#"{"PROMPT":123,"STREAM":7}"#,
        internal,
        "Unable to parse JSON bytes array: attempt to access JSON non-string as string",
    );
    check(
        r#"{"STREAM":"false","PROMPT":1}"#,
        internal,
        "Unable to parse 'data': attempt to access JSON non-boolean as boolean",
    );
    check(r#"{"PARAMS":{"a":1}}"#, invalid, &type_of("PARAMS"));
    check(r#"{"x":null}"#, invalid, &type_of("x"));
    check(r#"{"x":[1]}"#, invalid, &type_of("x"));
    check(
        r#"{"parameters":1}"#,
        internal,
        "Expected JSON object for keyword: 'parameters': attempt to access JSON non-object as object",
    );
    check(
        r#"{"parameters":{"nested":{"twice":1}}}"#,
        invalid,
        &format!("Converting keyword: 'parameters': {}", type_of("nested")),
    );
    check(
        r#"{"parameters":{"parameters":{}}}"#,
        invalid,
        &format!("Converting keyword: 'parameters': {}", type_of("parameters")),
    );
    let twice = "input 'PROMPT' already exists in request";
    check(
        r#"{"PROMPT":"a","STREAM":false,"PROMPT":1}"#,
        invalid,
        &format!("[request id: <id_unknown>] {twice}"),
    );
    check(
        r#"{"PROMPT":"a","parameters":{"PROMPT":"b"},"id":"7"}"#,
        invalid,
        &format!("Converting keyword: 'parameters': [request id: 7] {twice}"),
    );
    let named = config(0, &[("parameters", DataType::Int32, &[1])]);
    let error = decode(br#"{"parameters":1}"#, &named, LIMIT).unwrap_err();
    assert_eq!(error.message(), "Keyword 'parameters' for nested schema also given as input tensor name");
    let half = config(0, &[("h", DataType::Fp16, &[1])]);
    let error = decode(br#"{"h":1}"#, &half, LIMIT).unwrap_err();
    assert_eq!(
        error.message(),
        "receiving FP16 data via JSON is not supported. Please use the binary data format for input h"
    );
}

#[test]
fn all_inputs_together_are_limited() {
    let config = config(0, &[("a", DataType::Fp64, &[-1]), ("b", DataType::Fp64, &[-1])]);
    let body = |a: usize, b: usize| {
        let list = |count| vec!["1"; count].join(",");
        format!(r#"{{"a":[{}],"parameters":{{"b":[{}]}}}}"#, list(a), list(b))
    };
    assert!(decode(body(60, 65).as_bytes(), &config, LIMIT).is_ok());
    let limit =
        "exceeds the maximum allowed input size of 1000. Use --http-max-input-size to increase the limit.";
    let error = decode(body(60, 66).as_bytes(), &config, LIMIT).unwrap_err();
    let expected = format!(
        "Converting keyword: 'parameters': request size of 480 bytes with input 'b' of size 528 bytes {limit}"
    );
    assert_eq!(error.message(), expected);
    let error = decode(body(126, 0).as_bytes(), &config, LIMIT).unwrap_err();
    assert_eq!(error.message(), format!("request size of 0 bytes with input 'a' of size 1008 bytes {limit}"));
    let long = format!(r#"{{"x":"{}"}}"#, "y".repeat(LIMIT));
    let error = decode(long.as_bytes(), &config, LIMIT).unwrap_err();
    assert!(error.message().starts_with("request JSON size of 1008 bytes exceeds the maximum"), "{error}");
}

#[test]
fn hostile_bodies() {
    let config = text_model();
    let deep = format!("{}1{}", "[".repeat(250_000), "]".repeat(250_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(250_000), "}".repeat(250_000));
    for (name, value, start) in [
        (
            "N",
            deep.as_str(),
            "Unable to parse 'data': JSON nesting depth exceeds maximum allowed limit (100)",
        ),
        ("PROMPT", &deep, "JSON nesting depth exceeds maximum allowed limit (100)"),
        ("x", &deep, "parameter 'x' has invalid type"),
        ("parameters", &objects, "Converting keyword: 'parameters': parameter 'a' has invalid type"),
        ("N", &"[".repeat(250_000), "failed to parse the request JSON buffer: "),
        (
            "N",
            &format!("1{}", "0".repeat(100_000)),
            "failed to parse the request JSON buffer: Number too big",
        ),
        ("N", "99999999999999999999", "Unable to parse 'data': attempt to access JSON non-signed-integer"),
        (
            "PROMPT",
            &format!("[{}\"\"]", "\"\",".repeat(1_000_000)),
            "The schema can not convert input 'PROMPT'",
        ),
        (
            "N",
            &format!("[{}1]", "1,".repeat(4_000_000)),
            "request size of 0 bytes with input 'N' of size 16000004",
        ),
    ] {
        let body = format!(r#"{{"{name}":{value}}}"#);
        let limit = if name == "N" { 10_000_000 } else { 100_000_000 };
        let error = decode(body.as_bytes(), &config, limit).unwrap_err();
        assert!(error.message().starts_with(start), "{error}");
    }
    let nul = decode(br#"{"PROMPT":"a\u0000b","p\u0000q":"r\u0000s"}"#, &config, LIMIT).unwrap();
    assert_eq!(&nul.inputs[0].data[..], b"\x03\0\0\0a\0b");
    assert_eq!(nul.parameters, [("p\0q".to_owned(), Parameter::Text("r\0s".into()))]);
    let bytes = decode(b"{\"PROMPT\":\"\xff\xfe\"}", &config, LIMIT).unwrap();
    assert_eq!(&bytes.inputs[0].data[..], b"\x02\0\0\0\xff\xfe", "strings keep bytes that are not UTF-8");
}
