//! gRPC messages as bytes: what must not be copied, what reflection sees, what a real server sent.

use bytes::Bytes;
use nereid_protocol::inference::{
    InferTensorContents, ModelConfigResponse, ModelInferRequest, ModelInferResponse,
    grpc_inference_service_server, model_infer_request::InferInputTensor,
};
use nereid_protocol::{FILE_DESCRIPTOR_SET, config_json, health};
use prost::Message;
use prost_reflect::DescriptorPool;

/// Whether `part` lies in the memory of `whole`.
fn is_slice_of(part: &Bytes, whole: &Bytes) -> bool {
    whole.as_ptr_range().contains(&part.as_ptr()) && part.len() < whole.len()
}

#[test]
fn tensor_bytes_are_slices_of_the_message() {
    let request = ModelInferRequest {
        model_name: "m".into(),
        inputs: vec![InferInputTensor {
            name: "text".into(),
            contents: Some(Box::new(InferTensorContents {
                bytes_contents: vec![Bytes::from_static(b"a string element")],
                ..Default::default()
            })),
            ..Default::default()
        }],
        raw_input_contents: vec![Bytes::from(vec![1; 3136]), Bytes::new()],
        ..Default::default()
    };
    let wire = Bytes::from(request.encode_to_vec());
    let decoded = ModelInferRequest::decode(wire.clone()).unwrap();
    assert_eq!(decoded, request);
    assert!(is_slice_of(&decoded.raw_input_contents[0], &wire));
    let contents = decoded.inputs[0].contents.as_ref().unwrap();
    assert!(is_slice_of(&contents.bytes_contents[0], &wire));

    let response =
        ModelInferResponse { raw_output_contents: vec![Bytes::from(vec![2; 40])], ..Default::default() };
    let wire = Bytes::from(response.encode_to_vec());
    let decoded = ModelInferResponse::decode(wire.clone()).unwrap();
    assert!(is_slice_of(&decoded.raw_output_contents[0], &wire));
}

#[test]
fn the_descriptors_hold_both_services() {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let methods = |name: &str| pool.get_service_by_name(name).map(|service| service.methods().len());
    assert_eq!(methods(grpc_inference_service_server::SERVICE_NAME), Some(20));
    assert_eq!(methods(health::health_server::SERVICE_NAME), Some(1));
    assert_eq!(grpc_inference_service_server::SERVICE_NAME, "inference.GRPCInferenceService");
    assert_eq!(health::health_server::SERVICE_NAME, "grpc.health.v1.Health");
}

/// A real server's answers about the same models over gRPC and over HTTP say the same.
#[test]
fn recorded_configs_agree_between_grpc_and_http() {
    let check = |grpc: &[u8], http: &str| {
        let response = ModelConfigResponse::decode(grpc).unwrap();
        let expected = config_json::parse(http).unwrap();
        assert_eq!(response.config, Some(expected));
    };
    check(include_bytes!("recorded/plain.bin"), include_str!("recorded/plain.json"));
    check(include_bytes!("recorded/dynamic_batching.bin"), include_str!("recorded/dynamic_batching.json"));
    check(include_bytes!("recorded/ensemble.bin"), include_str!("recorded/ensemble.json"));
    check(include_bytes!("recorded/sequence.bin"), include_str!("recorded/sequence.json"));
}
