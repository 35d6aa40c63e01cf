//! Encoding one mnist_mlp response of 10 floats: binary tensor, JSON tensor, gRPC message.

use std::hint::black_box;

use bytes::Bytes;
use criterion::Criterion;
use nereid_benches::model::{input_values, to_bytes};
use nereid_protocol::inference::ModelInferResponse;
use nereid_protocol::inference::model_infer_response::InferOutputTensor;
use nereid_protocol::rest::{Datatype, Encoding, OutputView, Response, write_response};
use prost::Message;

/// Adds them.
pub(crate) fn all(criterion: &mut Criterion) {
    rest(criterion);
    grpc(criterion);
}

fn rest(criterion: &mut Criterion) {
    let data = Bytes::from(to_bytes(&input_values(10)));
    for (name, encoding) in [("binary", Encoding::Binary), ("JSON", Encoding::Json)] {
        let output = OutputView {
            name: "output",
            datatype: Datatype::Fp32,
            shape: &[1, 10],
            data: &data,
            encoding: Some(encoding),
        };
        let outputs = [output];
        let response = Response {
            id: "",
            model_name: "mnist_mlp",
            model_version: 1,
            parameters: &[],
            outputs: &outputs,
        };
        criterion.bench_function(&format!("encode/rest {name}, 10 floats"), |b| {
            b.iter(|| write_response(black_box(&response)).expect("valid"));
        });
    }
}

fn grpc(criterion: &mut Criterion) {
    let output = InferOutputTensor {
        name: "output".into(),
        datatype: "FP32".into(),
        shape: vec![1, 10],
        ..Default::default()
    };
    let response = ModelInferResponse {
        model_name: "mnist_mlp".into(),
        model_version: "1".into(),
        outputs: vec![output],
        raw_output_contents: vec![to_bytes(&input_values(10)).into()],
        ..Default::default()
    };
    criterion
        .bench_function("encode/gRPC raw, 10 floats", |b| b.iter(|| black_box(&response).encode_to_vec()));
}
