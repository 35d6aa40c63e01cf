//! Streams over a real service whose model gives its input back. Whether a client reads is up to the test.

use std::{fs, future};

use futures_util::stream;
use nereid_core::testing::TestBackend;
use nereid_protocol::inference::model_infer_request::InferInputTensor;
use nereid_repository::{Options, Repository};

use crate::service::ServiceOptions;

use super::*;

const CONFIG: &str = r#"
    backend: "test" default_model_filename: "model.test"
    input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
    output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
"#;

fn service() -> Arc<Service> {
    let folder = tempfile::tempdir().unwrap();
    let version = folder.path().join("identity/1");
    fs::create_dir_all(&version).unwrap();
    fs::write(version.join("model.test"), "").unwrap();
    fs::write(version.join("../config.pbtxt"), CONFIG).unwrap();
    let options = Options { paths: vec![folder.path().to_owned()], ..Default::default() };
    let repository = Repository::open(options, vec![Arc::new(TestBackend::default())]).unwrap();
    Arc::new(Service::new(repository, ServiceOptions::default()))
}

fn request(id: usize, elements: usize) -> ModelInferRequest {
    let input = InferInputTensor {
        name: "INPUT0".into(),
        datatype: "FP32".into(),
        shape: vec![1, elements as i64],
        ..Default::default()
    };
    ModelInferRequest {
        model_name: "identity".into(),
        id: id.to_string(),
        inputs: vec![input],
        raw_input_contents: vec![vec![0; 4 * elements].into()],
        ..Default::default()
    }
}

type Requests = stream::BoxStream<'static, Result<ModelInferRequest, Status>>;

fn session(requests: Requests) -> Session<Requests> {
    Session::new(service(), requests, Box::pin(future::pending()))
}

/// `count` requests of so many elements, then silence.
fn requests(count: usize, elements: usize) -> Requests {
    stream::iter((0..count).map(move |id| Ok(request(id, elements)))).chain(stream::pending()).boxed()
}

fn id_and_error(response: ModelStreamInferResponse) -> (String, String) {
    (response.infer_response.unwrap().id, response.error_message)
}

#[tokio::test]
async fn a_stream_holds_so_many_requests_and_so_many_bytes() {
    // How many requests are in flight before any answer has come, and how many are left after many.
    for (elements, held, left) in
        [(1, IN_FLIGHT, IN_FLIGHT - 1), (HELD_BYTES / 40, 10, 4), (HELD_BYTES / 4, 1, 0), (HELD_BYTES, 1, 0)]
    {
        let mut session = session(requests(2000, elements));
        future::poll_fn(|context| {
            session.read(context);
            Poll::Ready(())
        })
        .await;
        let sizes: usize = (0..held).map(|id| request(id, elements).encoded_len()).sum();
        assert_eq!((session.in_flight.len(), session.held_bytes), (held, sizes), "{elements}");
        for id in 0..7 {
            let answer = session.next().await.unwrap().unwrap();
            assert_eq!(id_and_error(answer), (id.to_string(), String::new()));
        }
        assert_eq!(session.in_flight.len(), left, "{elements}");
    }
}

#[tokio::test]
async fn what_is_not_a_tensor_is_held_too() {
    let long = "x".repeat(HELD_BYTES / 8);
    let unknown = ModelInferRequest { model_name: long.clone(), ..request(0, 1) };
    let named = ModelInferRequest { id: long, ..request(0, 1) };
    for request in [unknown, named] {
        let requests = stream::repeat_with(move || Ok(request.clone())).take(20).boxed();
        let mut session = session(requests);
        future::poll_fn(|context| {
            session.read(context);
            Poll::Ready(())
        })
        .await;
        assert_eq!(session.in_flight.len(), 8);
        assert_eq!(session.by_ref().count().await, 20);
        assert_eq!(session.held_bytes, 0);
    }
}

#[tokio::test]
async fn every_request_is_answered_in_order_and_then_the_stream_ends() {
    let unknown = ModelInferRequest { model_name: "absent".into(), ..request(1, 1) };
    let mut wrong = request(2, 1);
    wrong.raw_input_contents.clear();
    let mut all = vec![Ok(request(0, 5)), Ok(unknown), Ok(wrong)];
    all.extend((3..1500).map(|id| Ok(request(id, id % 7))));
    let answers: Vec<_> = session(stream::iter(all).boxed()).collect().await;
    assert_eq!(answers.len(), 1500);
    for (id, answer) in answers.into_iter().enumerate() {
        let ModelStreamInferResponse { error_message, infer_response } = answer.unwrap();
        let response = infer_response.unwrap();
        assert_eq!((response.id.as_str(), error_message.is_empty()), (&*id.to_string(), id != 1 && id != 2));
        // A request that was not queued is named by its id alone.
        assert_eq!(
            (response.model_name.is_empty(), response.parameters.is_empty()),
            (id == 1 || id == 2, id == 1 || id == 2)
        );
    }
}

#[tokio::test]
async fn what_is_no_request_ends_the_stream_after_what_came_before() {
    let broken = Status::internal("no message");
    let all = [Ok(request(0, 1)), Err(broken), Ok(request(1, 1))];
    let mut session = session(stream::iter(all).boxed());
    assert_eq!(id_and_error(session.next().await.unwrap().unwrap()).0, "0");
    assert_eq!(session.next().await.unwrap().unwrap_err().message(), "no message");
    assert!(session.next().await.is_none());
}

#[tokio::test]
async fn draining_refuses_what_comes_and_then_ends_the_stream() {
    let mut session = session(requests(3, 1));
    session.draining = Some(Box::pin(future::ready(())));
    for id in ["0", "1", "2"] {
        assert_eq!(id_and_error(session.next().await.unwrap().unwrap()), (id.into(), DRAINING.into()));
    }
    let status = session.next().await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::Unavailable, DRAINING));
    assert!(session.next().await.is_none());
    // A client that is done sending is not told off.
    let mut session = self::session(stream::iter([Ok(request(0, 1))]).boxed());
    session.draining = Some(Box::pin(future::ready(())));
    assert_eq!(id_and_error(session.next().await.unwrap().unwrap()).1, DRAINING);
    assert!(session.next().await.is_none());
}
