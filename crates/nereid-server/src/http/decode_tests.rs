//! Raw requests, whose shape follows from the config, and JSON requests against a model.

use nereid_core::testing::identity_config;

use super::*;

const LIMIT: usize = 1 << 20;

fn raw(config: &ModelConfig, body: &'static [u8]) -> Result<InputTensor> {
    decode_raw(Bytes::from_static(body), config).map(|(mut request, _)| request.inputs.remove(0))
}

#[test]
fn the_shape_of_a_raw_input_is_deduced() {
    let mut config = identity_config(8);
    assert_eq!(raw(&config, &[0; 12]).unwrap().shape[..], [1, 3]);
    config.inputs[0].dims = vec![2, -1];
    assert_eq!(raw(&config, &[0; 16]).unwrap().shape[..], [1, 2, 2]);
    config.max_batch_size = 0;
    config.inputs[0].dims = vec![2];
    assert_eq!(raw(&config, &[0; 8]).unwrap().shape[..], [2]);
    config.inputs[0].datatype = DataType::Bytes;
    config.inputs[0].dims = vec![1];
    assert_eq!(&raw(&config, b"hey").unwrap().data[..], b"\x03\0\0\0hey");
}

#[test]
fn raw_inputs_that_do_not_fit() {
    let check = |config: &ModelConfig, body: &'static [u8], expected: &str| {
        let error = raw(config, body).unwrap_err();
        assert_eq!(error.message(), format!("[request id: <id_unknown>] {expected}"));
    };
    let mut config = identity_config(8);
    config.inputs[0].dims = vec![-1, -1];
    check(
        &config,
        b"",
        "The shape of the raw input 'INPUT0' can not be deduced because there are more than one variable-sized dimension",
    );
    config.inputs[0].dims = vec![4];
    check(
        &config,
        b"123",
        "input byte size mismatch for input 'raw_input' for model 'identity'. Expected 16, got 3",
    );
    config.inputs[0].datatype = DataType::Bytes;
    check(&config, b"", "For BYTE datatype raw input 'INPUT0', the model must have input shape [1]");
    config.inputs.clear();
    check(
        &config,
        b"",
        "Raw request must only have 1 input (found 1) to be deduced but got 0 inputs in 'identity' model configuration",
    );
}

#[test]
fn binary_inputs_are_slices_of_the_body() {
    let json = r#"{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}"#;
    let body = Bytes::from([json.as_bytes(), &[0; 8]].concat());
    let (request, outputs) =
        decode(&body, Some(json.len()), &identity_config(8), LIMIT, &SharedMemory::new(false)).unwrap();
    assert_eq!(request.inputs[0].data.as_ptr(), body[json.len()..].as_ptr());
    assert_eq!(outputs.encoding("OUTPUT0"), Some(rest::Encoding::Json));
}

#[test]
fn wishes_for_outputs() {
    let json = r#"{"inputs":[],"parameters":{"binary_data_output":true},"outputs":[{"name":"a","parameters":
        {"classification":3}},{"name":"b","parameters":{"binary_data":true}}]}"#;
    let (request, outputs) =
        decode(&Bytes::from(json), None, &identity_config(8), LIMIT, &SharedMemory::new(false)).unwrap();
    assert_eq!(request.outputs, ["a", "b"]);
    assert_eq!((outputs.classes("a"), outputs.encoding("a")), (3, Some(rest::Encoding::Json)));
    assert_eq!((outputs.classes("b"), outputs.encoding("b")), (0, Some(rest::Encoding::Binary)));
}

#[test]
fn wishes_for_many_outputs() {
    for count in [1, MANY - 1, MANY, 5 * MANY] {
        let wish = |i| format!(r#"{{"name":"o{i}","parameters":{{"classification":{}}}}}"#, i + 1);
        let list: Vec<String> = (0..count).rev().map(wish).collect();
        let json = format!(r#"{{"inputs":[],"outputs":[{}]}}"#, list.join(","));
        let (request, outputs) =
            decode(&Bytes::from(json), None, &identity_config(8), LIMIT, &SharedMemory::new(false)).unwrap();
        assert_eq!(request.outputs[0], format!("o{}", count - 1), "the client's order");
        assert!((0..count).all(|i| outputs.classes(&format!("o{i}")) == i + 1));
        assert_eq!(outputs.classes("o"), 0);
    }
}

#[test]
fn shared_memory_needs_a_region() {
    let json = r#"{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[1,2],
        "parameters":{"shared_memory_region":"r","shared_memory_byte_size":8}}]}"#;
    let error =
        decode(&Bytes::from(json), None, &identity_config(8), LIMIT, &SharedMemory::new(false)).unwrap_err();
    assert_eq!(error.message(), "Unable to find shared memory region: 'r'");
    let json = r#"{"inputs":[],"outputs":[{"name":"o","parameters":{"shared_memory_region":"s"}}]}"#;
    let error =
        decode(&Bytes::from(json), None, &identity_config(8), LIMIT, &SharedMemory::new(false)).unwrap_err();
    assert_eq!(error.message(), "Unable to find shared memory region: 's'");
}

#[test]
fn unknown_types_are_refused_like_wrong_ones() {
    let json = r#"{"id":"7","inputs":[{"name":"INPUT0","datatype":"FP99","shape":[1,1],
        "parameters":{"binary_data_size":0}}]}"#;
    let error =
        decode(&Bytes::from(json), None, &identity_config(8), LIMIT, &SharedMemory::new(false)).unwrap_err();
    assert_eq!(
        error.message(),
        "[request id: 7] inference input 'INPUT0' data-type is '<invalid>', but model 'identity' expects 'FP32'"
    );
}

#[test]
fn headers_join_the_parameters_of_the_body() {
    let body = br#"{"inputs":[],"parameters":{"my_header_1":1}}"#;
    let (mut request, _) =
        decode(&Bytes::from_static(body), None, &identity_config(8), LIMIT, &SharedMemory::new(false))
            .unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in [("my_header_1", "a"), ("host", "h"), ("my_header_1", "b")] {
        headers.append(name, value.parse().unwrap());
    }
    forward_headers(&mut request, &HeaderForward::new("MY_HEADER").unwrap(), &headers).unwrap();
    let expected = [Parameter::Int(1), Parameter::Text("a".into()), Parameter::Text("b".into())];
    assert_eq!(request.parameters, expected.map(|value| ("my_header_1".to_owned(), value)));
    headers.insert("priority", "1".parse().unwrap());
    let refused = forward_headers(&mut request, &HeaderForward::new("").unwrap(), &headers).unwrap_err();
    assert_eq!(refused.message(), "Header 'priority' is reserved for Triton usage and cannot be forwarded.");
}
