//! Decoding one mnist_mlp request, wire to wire type: binary tensor, JSON tensor, gRPC message.

use std::hint::black_box;

use bytes::Bytes;
use criterion::Criterion;
use nereid_benches::model::{input_values, to_bytes};
use nereid_protocol::inference::model_infer_request::InferInputTensor;
use nereid_protocol::inference::{InferTensorContents, ModelInferRequest};
use nereid_protocol::rest::parse_request;
use prost::Message;

const ELEMENTS: usize = 784;
const MAX_INPUT_BYTES: usize = 64 << 20;

/// Adds them.
pub(crate) fn all(criterion: &mut Criterion) {
    rest(criterion);
    grpc(criterion);
}

fn rest(criterion: &mut Criterion) {
    let values = input_values(ELEMENTS);
    let data = to_bytes(&values);
    let head = format!(
        r#"{{"inputs":[{{"name":"input","shape":[1,1,28,28],"datatype":"FP32","parameters":{{"binary_data_size":{}}}}}],"outputs":[{{"name":"output","parameters":{{"binary_data":true}}}}]}}"#,
        data.len()
    );
    let binary = Bytes::from([head.as_bytes(), &data].concat());
    criterion.bench_function("decode/rest binary, 784 floats", |b| {
        b.iter(|| {
            parse_request(black_box(&binary), Some(head.len()), "mnist_mlp", MAX_INPUT_BYTES).expect("valid")
        });
    });

    // The order in which tritonclient writes the members; with the data first, they are read twice.
    let data = serde_json::json!(values);
    for (name, members) in [
        ("rest JSON", format!(r#""datatype":"FP32","data":{data}"#)),
        ("rest JSON, data first", format!(r#""data":{data},"datatype":"FP32""#)),
    ] {
        let json = format!(r#"{{"inputs":[{{"name":"input","shape":[1,1,28,28],{members}}}]}}"#);
        let json = Bytes::from(json);
        criterion.bench_function(&format!("decode/{name}, 784 floats"), |b| {
            b.iter(|| parse_request(black_box(&json), None, "mnist_mlp", MAX_INPUT_BYTES).expect("valid"));
        });
    }
}

fn grpc(criterion: &mut Criterion) {
    let input = InferInputTensor {
        name: "input".into(),
        datatype: "FP32".into(),
        shape: vec![1, 1, 28, 28],
        ..Default::default()
    };
    let raw = ModelInferRequest {
        model_name: "mnist_mlp".into(),
        inputs: vec![input.clone()],
        raw_input_contents: vec![to_bytes(&input_values(ELEMENTS)).into()],
        ..Default::default()
    };
    let contents = InferTensorContents { fp32_contents: input_values(ELEMENTS), ..Default::default() };
    let typed = ModelInferRequest {
        inputs: vec![InferInputTensor { contents: Some(Box::new(contents)), ..input }],
        raw_input_contents: Vec::new(),
        ..raw.clone()
    };
    for (name, message) in [("raw", raw), ("typed", typed)] {
        let message = Bytes::from(message.encode_to_vec());
        criterion.bench_function(&format!("decode/gRPC {name}, 784 floats"), |b| {
            b.iter(|| ModelInferRequest::decode(black_box(message.clone())).expect("valid"));
        });
    }
}
