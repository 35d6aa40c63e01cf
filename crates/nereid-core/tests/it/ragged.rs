//! Ragged batches: requests of different shapes in one tensor, what tells the model where each begins, and outputs that
//! find their way back by shape.

use bytes::Bytes;
use nereid_core::batch::{Batch, batch_input, concat, split};
use nereid_core::config::{
    BatchInput, BatchInputElement, BatchInputKind, BatchOutput, InputConfig, OutputConfig,
};
use nereid_core::{
    DataType, InferRequest, InferResponse, InputTensor, ModelConfig, OutputTensor, Shape, ValidRequest,
};

/// A ragged input `x` of the given dims, and an output `y` that goes back by the shape of `x`.
fn config(datatype: DataType, dims: &[i64], max_batch_size: u32) -> ModelConfig {
    let input = InputConfig {
        name: "x".into(),
        datatype,
        dims: dims.to_vec(),
        reshape: None,
        optional: false,
        allow_ragged_batch: true,
        form: Default::default(),
    };
    let output = OutputConfig {
        name: "y".into(),
        datatype,
        dims: dims.to_vec(),
        reshape: None,
        form: Default::default(),
    };
    ModelConfig {
        name: "m".into(),
        max_batch_size,
        inputs: vec![input],
        outputs: vec![output],
        batch_outputs: vec![BatchOutput { output: 0, source: 0 }],
        ..Default::default()
    }
}

/// A request for each shape, of numbers that count on from one request to the next.
fn requests(config: &ModelConfig, shapes: &[&[i64]]) -> Vec<ValidRequest> {
    let mut next = 0_u8;
    let mut request = |shape: &&[i64]| {
        let count = shape.iter().product::<i64>() as u8;
        let data: Vec<u8> = (next..next + count).flat_map(|n| f32::from(n).to_le_bytes()).collect();
        next += count;
        let (name, datatype, shape) = ("x".to_owned(), DataType::Fp32, Shape::from_slice(shape));
        let inputs = vec![InputTensor { name, datatype, shape, data: data.into() }];
        ValidRequest::new(InferRequest { inputs, ..Default::default() }, config).unwrap()
    };
    shapes.iter().map(&mut request).collect()
}

fn floats(data: &[u8]) -> Vec<f32> {
    data.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn ints(data: &[u8]) -> Vec<i32> {
    data.chunks(4).map(|bytes| i32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn made(kind: BatchInputKind, element: BatchInputElement) -> BatchInput {
    BatchInput { kind, element, targets: vec!["t".into()], source: 0 }
}

#[test]
fn a_ragged_input_is_one_flat_tensor() {
    let config = config(DataType::Fp32, &[-1], 4);
    let requests = requests(&config, &[&[1, 2], &[2, 3], &[1, 0], &[1, 1]]);
    let requests: Vec<_> = requests.iter().collect();
    let mut buffer = vec![7; 100];
    let all = concat(&Batch::new(&config, &requests), 0, &mut buffer).unwrap().unwrap();
    assert_eq!((&all.shape[..], floats(all.data)), (&[9][..], (0..9_u8).map(f32::from).collect()));
    let one = concat(&Batch::new(&config, &requests[1..2]), 0, &mut buffer).unwrap().unwrap();
    assert_eq!(one.shape[..], [6], "flat as well when it is alone");
    assert_eq!(one.data.as_ptr(), requests[1].inputs()[0].data.as_ptr(), "and not copied");
}

#[test]
fn every_kind_of_batch_input() {
    use BatchInputKind::*;
    let config = config(DataType::Fp32, &[-1, -1], 8);
    let requests = requests(&config, &[&[2, 1, 2], &[1, 4, 1], &[1, 0, 5], &[1, 2, 3]]);
    let requests: Vec<_> = requests.iter().collect();
    let batch = Batch::new(&config, &requests);
    let mut buffer = vec![9; 1000];
    for (kind, shape, expected) in [
        (ElementCount, &[4][..], &[4, 4, 0, 6][..]),
        (AccumulatedElementCount, &[4], &[4, 8, 8, 14]),
        (AccumulatedElementCountWithZero, &[5], &[0, 4, 8, 8, 14]),
        (MaxElementCountAsShape, &[6], &[0; 6]),
        (ItemShape, &[5, 2], &[1, 2, 1, 2, 4, 1, 0, 5, 2, 3]),
        (ItemShapeFlatten, &[10], &[1, 2, 1, 2, 4, 1, 0, 5, 2, 3]),
    ] {
        let got = batch_input(&batch, &made(kind, BatchInputElement::Int32), &mut buffer).unwrap();
        assert_eq!((&got[..], ints(&buffer)), (shape, expected.to_vec()), "{kind:?}");
        let got = batch_input(&batch, &made(kind, BatchInputElement::Fp32), &mut buffer).unwrap();
        let expected: Vec<f32> = expected.iter().map(|n| *n as f32).collect();
        assert_eq!((&got[..], floats(&buffer)), (shape, expected), "{kind:?}");
    }
}

#[test]
fn rows_that_only_a_number_claims_are_not_written_down() {
    let config = config(DataType::Fp32, &[-1, -1], 0);
    let requests = requests(&config, &[&[1 << 40, 0]]);
    let requests: Vec<_> = requests.iter().collect();
    let batch = Batch::new(&config, &requests);
    for kind in [BatchInputKind::ItemShape, BatchInputKind::ItemShapeFlatten] {
        let error = batch_input(&batch, &made(kind, BatchInputElement::Int32), &mut Vec::new()).unwrap_err();
        assert_eq!(
            error.message(),
            "unexpected total byte size for batch input: input 'x' has shape [1099511627776,0]"
        );
    }
}

#[test]
fn a_source_that_is_left_out() {
    let mut config = config(DataType::Fp32, &[-1], 0);
    config.inputs[0].optional = true;
    let request = ValidRequest::new(InferRequest { id: "7".into(), ..Default::default() }, &config).unwrap();
    let requests = [&request];
    let batch = Batch::new(&config, &requests);
    let made = made(BatchInputKind::ElementCount, BatchInputElement::Fp32);
    let expected = "[request id: 7] unknown request input name x";
    assert_eq!(batch_input(&batch, &made, &mut Vec::new()).unwrap_err().message(), expected);
    let responses = split(&batch, vec![output(&[2, 0], Bytes::new())]).unwrap();
    assert_eq!(responses[0].outputs[0].shape[..], [2, 0], "the model's, for lack of another");
}

fn output(shape: &[i64], data: Bytes) -> OutputTensor {
    OutputTensor { name: "y".into(), datatype: DataType::Fp32, shape: Shape::from_slice(shape), data }
}

fn parts(responses: &[InferResponse]) -> Vec<(&[i64], Vec<f32>)> {
    responses.iter().map(|r| (&r.outputs[0].shape[..], floats(&r.outputs[0].data))).collect()
}

#[test]
fn outputs_go_back_by_the_shape_of_an_input() {
    let mut config = config(DataType::Fp32, &[-1], 4);
    let requests = requests(&config, &[&[1, 2], &[2, 1], &[1, 0], &[1, 3]]);
    let requests: Vec<_> = requests.iter().collect();
    let data: Bytes = (0..7_u8).flat_map(|n| f32::from(n).to_le_bytes()).collect();
    let responses = split(&Batch::new(&config, &requests), vec![output(&[7], data.clone())]).unwrap();
    let expected = [
        (&[1, 2][..], vec![0.0, 1.0]),
        (&[2, 1], vec![2.0, 3.0]),
        (&[1, 0], vec![]),
        (&[1, 3], vec![4.0, 5.0, 6.0]),
    ];
    assert_eq!(parts(&responses), expected);
    let alone = split(&Batch::new(&config, &requests[3..]), vec![output(&[3], data.slice(..12))]).unwrap();
    assert_eq!(parts(&alone), [(&[1, 3][..], vec![0.0, 1.0, 2.0])]);
    let error = split(&Batch::new(&config, &requests), vec![output(&[6], data.slice(..24))]).unwrap_err();
    assert_eq!(error.message(), "output 'y' has less data than its shape [6] says");
    // The model's own dims count, and clients see the others.
    config.outputs[0].dims = vec![2, 1, -1];
    config.outputs[0].reshape = Some(vec![-1, 2]);
    let twice = data.iter().copied().chain(data.iter().copied()).collect();
    let responses = split(&Batch::new(&config, &requests[..2]), vec![output(&[8], twice)]).unwrap();
    assert_eq!(responses[0].outputs[0].shape[..], [1, 2, 1, 2]);
    assert_eq!(responses[1].outputs[0].shape[..], [2, 2, 1, 1]);
}

#[test]
fn strings_go_back_by_shape_too() {
    let config = config(DataType::Bytes, &[-1], 4);
    let strings = |words: &[&str]| -> Bytes {
        let encode = |word: &&str| [&(word.len() as u32).to_le_bytes(), word.as_bytes()].concat();
        words.iter().flat_map(encode).collect()
    };
    let request = |words: &[&str]| {
        let (name, datatype) = ("x".to_owned(), DataType::Bytes);
        let shape = Shape::from_slice(&[1, words.len() as i64]);
        let inputs = vec![InputTensor { name, datatype, shape, data: strings(words) }];
        ValidRequest::new(InferRequest { inputs, ..Default::default() }, &config).unwrap()
    };
    let requests = [request(&["a", "bc"]), request(&["def"])];
    let requests: Vec<_> = requests.iter().collect();
    let batch = Batch::new(&config, &requests);
    let mut buffer = Vec::new();
    let all = concat(&batch, 0, &mut buffer).unwrap().unwrap();
    assert_eq!(all.shape[..], [3]);
    let output = OutputTensor { datatype: DataType::Bytes, ..output(&[3], Bytes::copy_from_slice(all.data)) };
    let responses = split(&batch, vec![output]).unwrap();
    assert_eq!(responses[0].outputs[0].data, strings(&["a", "bc"]));
    assert_eq!(responses[1].outputs[0].data, strings(&["def"]));
}
