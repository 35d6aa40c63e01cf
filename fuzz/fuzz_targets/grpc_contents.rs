//! An inference request over gRPC: one byte that chooses a config, and the message. Whatever is accepted with typed
//! contents is accepted with the same bytes as raw contents.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nereid_core::{ModelConfig, ValidRequest};
use nereid_fuzz::{assert_fits, config};
use nereid_protocol::inference::ModelInferRequest;
use nereid_server::grpc::fuzzing;
use prost::Message;

fuzz_target!(|data: &[u8]| {
    let Some((choice, message)) = data.split_first() else { return };
    let Ok(message) = ModelInferRequest::decode(Bytes::copy_from_slice(message)) else { return };
    let config = config(*choice);
    let Ok(request) = fuzzing::decode(message.clone(), &config) else { return };
    assert_fits(&request, &config);
    let raw = as_raw(message, &request, &config);
    let again = fuzzing::decode(raw, &config).expect("typed contents have a raw form");
    for (typed, raw) in request.inputs().iter().zip(again.inputs()) {
        assert_eq!((typed.index, &typed.shape, &typed.data), (raw.index, &raw.shape, &raw.data));
    }
});

fn as_raw(mut message: ModelInferRequest, request: &ValidRequest, config: &ModelConfig) -> ModelInferRequest {
    message.raw_input_contents.clear();
    for input in &mut message.inputs {
        input.contents = None;
        let index = config.input_index(&input.name).expect("inputs of accepted requests are known");
        let data = request.input(index).expect("inputs of accepted requests are kept").data.clone();
        message.raw_input_contents.push(data);
    }
    message
}
