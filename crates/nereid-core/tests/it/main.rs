//! Batches: gathered and split as the requests were.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ragged;

use nereid_core::backend::Outputs;
use nereid_core::batch::{Batch, concat, split};
use nereid_core::testing::{identity_config, identity_request};
use nereid_core::{OutputTensor, Shape};

#[test]
fn gathers_and_splits_rows_of_each_request() {
    let config = identity_config(8);
    let requests = [(1, 1.0), (3, 2.0), (2, 3.0)].map(|(rows, value)| identity_request(&config, rows, value));
    let requests: Vec<_> = requests.iter().collect();
    let batch = Batch::new(&config, &requests);
    assert_eq!(batch.size(), 6);
    let mut buffer = Vec::new();
    let gathered = concat(&batch, 0, &mut buffer).unwrap().unwrap();
    assert_eq!(gathered.shape[..], [6, 1]);
    let output = OutputTensor {
        name: "OUTPUT0".into(),
        datatype: config.outputs[0].datatype,
        shape: gathered.shape,
        data: bytes::Bytes::copy_from_slice(gathered.data),
    };
    let responses = split(&batch, vec![output.clone()]).unwrap();
    for (response, request) in responses.iter().zip(&requests) {
        assert_eq!(response.outputs[0].shape, request.inputs()[0].shape);
        assert_eq!(response.outputs[0].data, request.inputs()[0].data);
    }
    let short = OutputTensor { data: output.data.slice(4..), ..output.clone() };
    assert!(split(&batch, vec![short]).unwrap_err().message().contains("less data than its shape [6,1]"));
    let few = OutputTensor { shape: Shape::from_slice(&[5, 1]), ..output.clone() };
    assert_eq!(
        split(&batch, vec![few]).unwrap_err().with_code(),
        "Unsupported: failed to split the output tensor 'OUTPUT0' in responses: expected batch size of at least 6 in \
         model output, got 5"
    );
    // What a model gives beyond the batch is nobody's.
    for requests in [&requests[..], &requests[..1], &requests[1..2]] {
        let responses = split(&Batch::new(&config, requests), vec![output.clone()]).unwrap();
        let rows: Vec<_> = responses.iter().map(|response| response.outputs[0].shape[0]).collect();
        assert_eq!(rows, requests.iter().map(|request| i64::from(request.batch_size())).collect::<Vec<_>>());
        let bytes = responses.iter().map(|response| response.outputs[0].data.len() as i64);
        assert_eq!(bytes.sum::<i64>(), 4 * rows.iter().sum::<i64>());
    }
}

#[test]
fn a_batch_of_one_is_borrowed() {
    let config = identity_config(0);
    let request = identity_request(&config, 3, 1.0);
    let (requests, mut buffer) = ([&request], Vec::new());
    let batch = Batch::new(&config, &requests);
    let gathered = concat(&batch, 0, &mut buffer).unwrap().unwrap();
    assert_eq!(gathered.data.as_ptr(), request.inputs()[0].data.as_ptr());
}

#[test]
fn what_is_split_already_is_handed_on() {
    let config = identity_config(8);
    let requests = [1, 2].map(|rows| identity_request(&config, rows, 1.0));
    let requests: Vec<_> = requests.iter().collect();
    let batch = Batch::new(&config, &requests);
    let output = |name: &str, rows| OutputTensor {
        name: name.into(),
        datatype: config.outputs[0].datatype,
        shape: Shape::from_slice(&[rows, 1]),
        data: bytes::Bytes::new(),
    };
    let each = vec![vec![output("OUTPUT0", 1), output("unknown", 1)], vec![output("OUTPUT0", 7)]];
    let responses = split(&batch, Outputs::Each(each)).unwrap();
    let shapes: Vec<_> =
        responses.iter().map(|r| r.outputs.iter().map(|o| o.shape[0]).collect::<Vec<_>>()).collect();
    assert_eq!(shapes, [vec![1], vec![7]]);
    let error = split(&batch, Outputs::Each(vec![vec![]])).unwrap_err();
    assert_eq!(error.message(), "model 'identity' gave the outputs of 1 requests for a batch of 2");
}
