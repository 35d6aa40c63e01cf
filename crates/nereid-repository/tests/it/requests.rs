//! Inference requests, and where their answers go.

use std::sync::mpsc::{self, Receiver};

use bytes::Bytes;
use nereid_core::{
    Continuation, DataType, InferRequest, InferResponse, InputTensor, Respond, Responder, Result, Shape,
    ValidRequest,
};
use nereid_repository::ModelVersion;

struct Channel(mpsc::Sender<Result<InferResponse>>);

impl Respond for Channel {
    fn respond(self: Box<Self>, result: Result<InferResponse>) -> Option<Continuation> {
        // Nobody may wait any more when a test ends.
        let _ = self.0.send(result);
        None
    }
}

/// Asks `model`, which has one input INPUT0 of `[-1, -1]`; a refusal comes like an answer.
pub(crate) fn infer(model: &ModelVersion) -> Receiver<Result<InferResponse>> {
    let input = InputTensor {
        name: "INPUT0".into(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(&[1, 1]),
        data: Bytes::copy_from_slice(&1_f32.to_le_bytes()),
    };
    let request = InferRequest { inputs: vec![input], ..Default::default() };
    let request = ValidRequest::new(request, &model.config).unwrap();
    let (sender, receiver) = mpsc::channel();
    if let Err(refusal) = model.scheduler().enqueue(request, Responder::new(Channel(sender.clone()))) {
        sender.send(Err(refusal)).unwrap();
    }
    receiver
}
