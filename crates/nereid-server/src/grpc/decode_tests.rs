//! Requests that gRPC can express and Triton refuses, with its texts; and those it takes.

use nereid_core::testing::identity_config;

use super::*;

fn tensor(datatype: &str, contents: Option<InferTensorContents>) -> InferInputTensor {
    InferInputTensor {
        name: "INPUT0".into(),
        datatype: datatype.into(),
        shape: vec![1, 2],
        parameters: Default::default(),
        contents: contents.map(Box::new),
    }
}

fn request(inputs: Vec<InferInputTensor>, raw: &[&'static [u8]]) -> ModelInferRequest {
    let raw_input_contents = raw.iter().map(|r| Bytes::from_static(r)).collect();
    ModelInferRequest { inputs, raw_input_contents, ..Default::default() }
}

fn with_parameter(name: &str, value: ParameterChoice) -> ModelInferRequest {
    let value = InferParameter { parameter_choice: Some(value) };
    ModelInferRequest { parameters: [(name.to_owned(), value)].into(), ..Default::default() }
}

#[track_caller]
fn refused(message: ModelInferRequest, expected: &str) {
    assert_eq!(
        decode(message, &identity_config(8), &SharedMemory::new(true)).unwrap_err().message(),
        expected
    );
}

#[test]
fn raw_contents_are_not_copied() {
    let raw = Bytes::from(vec![0; 8]);
    let message = ModelInferRequest {
        inputs: vec![tensor("FP32", None)],
        raw_input_contents: vec![raw.clone()],
        ..Default::default()
    };
    let (request, _) = decode(message, &identity_config(8), &SharedMemory::new(true)).unwrap();
    assert_eq!(request.inputs[0].data.as_ptr(), raw.as_ptr());
    assert_eq!(request.inputs[0].shape[..], [1, 2]);
}

#[test]
fn classes_of_many_outputs() {
    for count in [1, MANY - 1, MANY, 5 * MANY] {
        let wish = |i: usize| {
            let classes =
                InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(i as i64 + 1)) };
            let parameters = [("classification".to_owned(), classes)].into();
            InferRequestedOutputTensor { name: format!("o{i}"), parameters }
        };
        let outputs = (0..count).rev().map(wish).collect();
        let message = ModelInferRequest { outputs, ..Default::default() };
        let (_, outputs) = decode(message, &identity_config(8), &SharedMemory::new(false)).unwrap();
        assert!((0..count).all(|i| outputs.classes(&format!("o{i}")) == Some(i + 1)));
        assert_eq!(outputs.classes("o"), None);
    }
}

#[test]
fn typed_contents_of_every_type() {
    let c = InferTensorContents::default;
    for (datatype, contents, expected) in [
        ("BOOL", InferTensorContents { bool_contents: vec![true, false], ..c() }, vec![1, 0]),
        ("INT8", InferTensorContents { int_contents: vec![-1, 2], ..c() }, vec![255, 2]),
        ("INT16", InferTensorContents { int_contents: vec![-2, 1], ..c() }, vec![254, 255, 1, 0]),
        ("INT32", InferTensorContents { int_contents: vec![1], ..c() }, vec![1, 0, 0, 0]),
        ("INT64", InferTensorContents { int64_contents: vec![1], ..c() }, vec![1, 0, 0, 0, 0, 0, 0, 0]),
        ("UINT8", InferTensorContents { uint_contents: vec![7], ..c() }, vec![7]),
        ("UINT16", InferTensorContents { uint_contents: vec![258], ..c() }, vec![2, 1]),
        ("UINT32", InferTensorContents { uint_contents: vec![1], ..c() }, vec![1, 0, 0, 0]),
        ("UINT64", InferTensorContents { uint64_contents: vec![1], ..c() }, vec![1, 0, 0, 0, 0, 0, 0, 0]),
        ("FP32", InferTensorContents { fp32_contents: vec![1.0], ..c() }, 1.0_f32.to_le_bytes().to_vec()),
        ("FP64", InferTensorContents { fp64_contents: vec![1.0], ..c() }, 1.0_f64.to_le_bytes().to_vec()),
        (
            "BYTES",
            InferTensorContents { bytes_contents: vec![Bytes::from_static(b"a\0")], ..c() },
            b"\x02\0\0\0a\0".to_vec(),
        ),
        ("FP16", c(), vec![]),
    ] {
        let (request, _) = decode(
            request(vec![tensor(datatype, Some(contents))], &[]),
            &identity_config(8),
            &SharedMemory::new(true),
        )
        .unwrap();
        assert_eq!(request.inputs[0].data, expected, "{datatype}");
    }
}

#[test]
fn inputs_that_make_no_sense() {
    let floats = || InferTensorContents { fp32_contents: vec![1.0], ..Default::default() };
    let both = InferTensorContents { int_contents: vec![1], ..floats() };
    let after = InferTensorContents { fp64_contents: vec![1.0], ..floats() };
    let start = "unexpected explicit tensor data for input tensor 'INPUT0' for model 'identity'";
    refused(
        request(vec![tensor("INT32", Some(floats()))], &[]),
        &format!("{start} of type 'FP32', expected datatype 'INT32'"),
    );
    refused(
        request(vec![tensor("FP32", Some(both))], &[]),
        &format!("{start} of type 'INT32', expected datatype 'FP32'"),
    );
    refused(
        request(vec![tensor("FP32", Some(after))], &[]),
        &format!("{start}, binary data was already supplied."),
    );
    refused(
        request(vec![tensor("FP32", Some(floats()))], &[b"x"]),
        "contents field must not be specified when using raw_input_contents for 'INPUT0' for model 'identity'",
    );
    refused(
        request(vec![tensor("FP32", None)], &[]),
        "unable to find data for input tensor 'INPUT0' for model 'identity' in request.",
    );
    refused(
        request(vec![tensor("FP99", None)], &[b""]),
        "[request id: <id_unknown>] inference input 'INPUT0' data-type is '<invalid>', but model 'identity' expects \
         'FP32'",
    );
}

#[test]
fn parameters() {
    use ParameterChoice::{BoolParam, DoubleParam, Int64Param, StringParam, Uint64Param};
    for (name, value, expected) in [
        (
            "sequence_id",
            BoolParam(true),
            "invalid value type for 'sequence_id' parameter, expected int64_param or string_param.",
        ),
        (
            "sequence_start",
            Int64Param(1),
            "invalid value type for 'sequence_start' parameter, expected bool_param.",
        ),
        ("priority", Int64Param(-1), "invalid value for 'priority', expected value >= 0."),
        (
            "priority",
            StringParam("1".into()),
            "invalid value type for 'priority' parameter, expected int64_param or uint64_param.",
        ),
        ("timeout", DoubleParam(1.0), "invalid value type for 'timeout' parameter, expected int64_param."),
        (
            "triton_x",
            BoolParam(true),
            "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys starting \
             with 'triton_' are allowed: triton_enable_empty_final_response",
        ),
        (
            "mine",
            Uint64Param(1),
            "invalid value type for 'mine' parameter, expected int64_param, bool_param, or string_param.",
        ),
    ] {
        refused(with_parameter(name, value), expected);
    }
    let (request, _) =
        decode(with_parameter("mine", DoubleParam(0.5)), &identity_config(8), &SharedMemory::new(true))
            .unwrap();
    assert_eq!(request.parameters, [("mine".to_owned(), Parameter::Double(0.5))]);
    let (request, _) =
        decode(with_parameter("priority", Uint64Param(3)), &identity_config(8), &SharedMemory::new(true))
            .unwrap();
    assert_eq!(request.priority, 3);
}

#[test]
fn classification_counts() {
    let output = |value| InferRequestedOutputTensor {
        name: "o".into(),
        parameters: [("classification".to_owned(), InferParameter { parameter_choice: Some(value) })].into(),
    };
    let with = |value| ModelInferRequest { outputs: vec![output(value)], ..Default::default() };
    let (_, outputs) =
        decode(with(ParameterChoice::Int64Param(3)), &identity_config(8), &SharedMemory::new(true)).unwrap();
    assert_eq!((outputs.classes("o"), outputs.classes("p")), (Some(3), None));
    refused(
        with(ParameterChoice::Int64Param(0)),
        "invalid value for 'classification' parameter, expected >= 0",
    );
    refused(
        with(ParameterChoice::BoolParam(true)),
        "invalid value type for 'classification' parameter, expected int64_param",
    );
}

#[test]
fn places_in_shared_memory() {
    use ParameterChoice::{BoolParam, Int64Param, StringParam, Uint64Param};
    let region = || ("shared_memory_region", StringParam("r".into()));
    let (offset, size) = ("shared_memory_offset", "shared_memory_byte_size");
    let for_tensor = "parameter for tensor 'INPUT0'";
    for (parameters, expected) in [
        (vec![("shared_memory_region", BoolParam(true))], format!("invalid value type for 'shared_memory_region' {for_tensor}, expected string_param.")),
        (vec![(offset, Int64Param(0))], "'shared_memory_offset' can not be specified without 'shared_memory_region' parameter for tensor 'INPUT0'".into()),
        (vec![(size, Int64Param(0))], "'shared_memory_byte_size' can not be specified without 'shared_memory_region' parameter for tensor 'INPUT0'".into()),
        (vec![region(), (offset, Uint64Param(0))], format!("invalid value type for 'shared_memory_offset' {for_tensor}, expected int64_param.")),
        (vec![region(), (size, StringParam("8".into()))], format!("invalid value type for 'shared_memory_byte_size' {for_tensor}, expected int64_param.")),
        (vec![region()], "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter for tensor 'INPUT0'".into()),
        (vec![region(), (size, Int64Param(8))], "Unable to find shared memory region: 'r'".into()),
    ] {
        let parameters: std::collections::BTreeMap<_, _> = parameters
            .into_iter()
            .map(|(name, value)| (name.to_owned(), InferParameter { parameter_choice: Some(value) }))
            .collect();
        let input = InferInputTensor { parameters: parameters.clone(), ..tensor("FP32", None) };
        refused(request(vec![input], &[]), &expected);
        let output = InferRequestedOutputTensor { name: "INPUT0".into(), parameters };
        refused(ModelInferRequest { outputs: vec![output], ..Default::default() }, &expected);
    }
    let place = [region(), (size, Int64Param(8))];
    let place =
        place.map(|(name, value)| (name.to_owned(), InferParameter { parameter_choice: Some(value) }));
    let both =
        InferInputTensor { parameters: place.into(), ..tensor("FP32", Some(InferTensorContents::default())) };
    let text = "unexpected 'content' provided when using shared memory for input tensor 'INPUT0' for model 'identity'";
    refused(request(vec![both], &[]), text);
}

#[test]
fn metadata_become_parameters() {
    let mut metadata = MetadataMap::new();
    for name in ["my-key", "other", "grpc-timeout", "content-type", "te", "user-agent"] {
        metadata.insert(name, "value".parse().unwrap());
    }
    metadata.append("my-key", "second".parse().unwrap());
    for value in [&b"caf\xc3\xa9"[..], b"nul\0in", b"\xff"] {
        metadata.append_bin("my-key-bin", tonic::metadata::MetadataValue::from_bytes(value));
    }
    let check = |pattern: &str, expected: &[(&str, &str)]| {
        let forward = HeaderForward::new(pattern).unwrap();
        let forwarded = forwarded(Some(&forward), &metadata).unwrap();
        let mut found = (*forwarded).clone().unwrap();
        found.sort_by(|a, b| a.0.cmp(&b.0)); // stable: values of one name keep their order
        let text = |(name, value): &(&str, &str)| (name.to_string(), Parameter::Text(value.to_string()));
        assert_eq!(found, expected.iter().map(text).collect::<Vec<_>>(), "{pattern}");
    };
    check("MY-key$", &[("my-key", "value"), ("my-key", "second")]);
    check("-bin", &[("my-key-bin", "café"), ("my-key-bin", "nul\0in"), ("my-key-bin", "\u{fffd}")]);
    check("te|type|user", &[("user-agent", "value")]);
    assert!(forwarded(None, &metadata).is_none());
    metadata.insert("triton_grpc_error", "true".parse().unwrap());
    let refused = forwarded(Some(&HeaderForward::new("error").unwrap()), &metadata).unwrap();
    let message = "Header 'triton_grpc_error' is reserved for Triton usage and cannot be forwarded.";
    assert_eq!((*refused).clone().unwrap_err().message(), message);
}
