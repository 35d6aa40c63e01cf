//! The gRPC half of the echo server: tonic's codec and routes, as the generated server drives them, for
//! `ModelInfer` alone.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use nereid_protocol::inference::model_infer_response::InferOutputTensor;
use nereid_protocol::inference::{ModelInferRequest, ModelInferResponse};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{NamedService, UnaryService};
use tonic::service::Routes;
use tonic_prost::ProstCodec;

use crate::model::Sample;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[derive(Debug, Clone)]
struct Echo(Arc<ModelInferResponse>);

/// The service under the name that clients call.
pub(super) fn router(sample: &Sample) -> Router {
    let output = &sample.facts.output;
    let answer = ModelInferResponse {
        model_name: sample.facts.name.clone(),
        model_version: "1".into(),
        outputs: vec![InferOutputTensor {
            name: output.name.clone(),
            datatype: "FP32".into(),
            shape: output.shape(sample.batch),
            ..Default::default()
        }],
        raw_output_contents: vec![vec![0; sample.output_bytes()].into()],
        ..Default::default()
    };
    Routes::new(Echo(Arc::new(answer))).prepare().into_axum_router()
}

impl NamedService for Echo {
    const NAME: &'static str = "inference.GRPCInferenceService";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<ModelInferResponse, ModelInferRequest>::default();
            let mut grpc = tonic::server::Grpc::new(codec).max_decoding_message_size(usize::MAX);
            Ok(grpc.unary(echo, request).await)
        })
    }
}

impl UnaryService<ModelInferRequest> for Echo {
    type Response = ModelInferResponse;
    type Future = Boxed<Result<tonic::Response<ModelInferResponse>, tonic::Status>>;

    fn call(&mut self, _: tonic::Request<ModelInferRequest>) -> Self::Future {
        let answer = self.0.clone();
        Box::pin(async move { Ok(tonic::Response::new(ModelInferResponse::clone(&answer))) })
    }
}
