//! Injected inputs, null requests, and the states that a batch gives back.

use std::sync::Arc;

use super::*;
use crate::batch::{Batch, concat, split};
use crate::config::{
    Control, Direct, Flag, InputConfig, OutputConfig, Scheduling, SequenceBatching, State, StateTensor,
    Strategy,
};
use crate::{InferRequest, InputTensor, OutputTensor, Result, Shape};

fn tensor(name: &str, datatype: DataType) -> InputConfig {
    let (dims, reshape) = (vec![1], None);
    InputConfig {
        name: name.into(),
        datatype,
        dims,
        reshape,
        optional: false,
        allow_ragged_batch: false,
        form: Default::default(),
    }
}

fn output(name: &str) -> OutputConfig {
    OutputConfig {
        name: name.into(),
        datatype: DataType::Int32,
        dims: vec![1],
        reshape: None,
        form: Default::default(),
    }
}

/// INT32 `X` and BYTES `S`, the controls READY and CORRID of `id`, and the state `IN` → `OUT`.
fn config(id: DataType) -> ModelConfig {
    let int = |value: i32| Bytes::from(value.to_le_bytes().to_vec());
    let batching = SequenceBatching {
        strategy: Strategy::Direct(Direct::default()),
        max_idle_us: 1_000_000,
        controls: vec![Control::Ready(Flag { no: int(0), yes: int(1) }), Control::CorrelationId],
        states: vec![State {
            output: 1,
            initial: StateTensor { shape: Shape::from_slice(&[1, 1]), data: int(0) },
        }],
        iterative: false,
    };
    ModelConfig {
        name: "m".into(),
        max_batch_size: 4,
        inputs: vec![tensor("X", DataType::Int32), tensor("S", DataType::Bytes)],
        outputs: vec![output("Y")],
        injected_inputs: vec![
            tensor("READY", DataType::Int32),
            tensor("CORRID", id),
            tensor("IN", DataType::Int32),
        ],
        hidden_outputs: vec![output("OUT")],
        scheduling: Scheduling::Sequence(batching),
        ..Default::default()
    }
}

fn request(config: &ModelConfig, value: i32, id: CorrelationId) -> Result<ValidRequest> {
    let input = |name: &str, datatype, data: Vec<u8>| InputTensor {
        name: name.into(),
        datatype,
        shape: Shape::from_slice(&[1, 1]),
        data: data.into(),
    };
    let inputs = vec![
        input("X", DataType::Int32, value.to_le_bytes().into()),
        input("S", DataType::Bytes, b"\x02\0\0\0ab".into()),
    ];
    let sequence = Sequence { id, start: true, end: false };
    ValidRequest::new(InferRequest { inputs, sequence, ..Default::default() }, config)
}

#[test]
fn ids_must_be_of_the_type_that_the_model_takes() {
    let (number, text) = (|| CorrelationId::Number(7), || CorrelationId::Text("seven".into()));
    assert!(request(&config(DataType::Int32), 1, number()).is_ok());
    assert!(request(&config(DataType::Bytes), 1, text()).is_ok());
    for (datatype, id, expected) in [
        (DataType::Bytes, number(), "'UINT64', but model 'm' expects 'BYTES'"),
        (DataType::Uint64, text(), "'BYTES', but model 'm' expects 'UINT64'"),
    ] {
        let error = request(&config(datatype), 1, id).unwrap_err();
        let prefix = "[request id: <id_unknown>] sequence batching control 'CORRID' data-type is ";
        assert_eq!(error.with_code(), format!("Invalid argument: {prefix}{expected}"));
    }
    let mut indifferent = config(DataType::Bytes);
    let Scheduling::Sequence(batching) = &mut indifferent.scheduling else { unreachable!() };
    batching.controls.pop();
    assert!(request(&indifferent, 1, number()).is_ok() && request(&indifferent, 1, text()).is_ok());
}

#[test]
fn clients_neither_send_nor_see_what_is_the_schedulers() {
    let config = config(DataType::Uint64);
    let refused = |request| ValidRequest::new(request, &config).unwrap_err().message().to_owned();
    let asks = InferRequest { outputs: vec!["OUT".into()], ..Default::default() };
    assert_eq!(refused(asks), "unexpected inference output 'OUT' for model 'm'");
    let ready = InputTensor {
        name: "READY".into(),
        datatype: DataType::Int32,
        shape: Shape::from_slice(&[1, 1]),
        data: vec![0; 4].into(),
    };
    assert!(
        refused(InferRequest { inputs: vec![ready], ..Default::default() }).contains("expected 2 inputs")
    );
}

#[test]
fn a_null_request_has_the_shape_of_a_real_one_and_nothing_in_it() {
    let config = config(DataType::Uint64);
    let mut real = request(&config, 7, CorrelationId::Number(1)).unwrap();
    real.inject([ValidInput {
        index: 2,
        shape: Shape::from_slice(&[1, 1]),
        data: vec![1; 4].into(),
        device: None,
    }]);
    let mut zeros = Bytes::new();
    let null = real.null_like(&config, &mut zeros);
    assert!(null.is_null() && !real.is_null() && !null.wants(0));
    assert_eq!((null.batch_size(), null.inputs().len()), (1, 2), "what was injected is left out");
    for input in null.inputs() {
        assert_eq!((&*input.data, &input.shape[..]), (&[0; 4][..], &[1, 1][..]));
    }
    let again = real.null_like(&config, &mut zeros);
    assert_eq!(again.inputs()[0].data.as_ptr(), null.inputs()[1].data.as_ptr(), "the same memory");
}

#[test]
fn injected_inputs_are_gathered_and_states_given_back_to_each_request() {
    let config = config(DataType::Uint64);
    let mut requests = [1, 2].map(|value| request(&config, value, CorrelationId::Number(1)).unwrap());
    for (request, state) in requests.iter_mut().zip([5_i32, 6]) {
        let data = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let input = |index, data| ValidInput { index, shape: Shape::from_slice(&[1, 1]), data, device: None };
        request.inject([
            input(2, data(&[1, 0, 0, 0])),
            input(3, data(&[9; 8])),
            input(4, data(&state.to_le_bytes())),
        ]);
    }
    let requests: Vec<_> = requests.iter().collect();
    let batch = Batch::new(&config, &requests);
    let mut buffer = Vec::new();
    let state = concat(&batch, 4, &mut buffer).unwrap().unwrap();
    assert_eq!((state.data, &state.shape[..]), (&[5, 0, 0, 0, 6, 0, 0, 0][..], &[2, 1][..]));
    assert!(batch.wants(1), "the scheduler wants the state, whatever clients ask for");
    let tensor = |name: &str, rows: Vec<u8>| OutputTensor {
        name: Arc::from(name),
        datatype: DataType::Int32,
        shape: Shape::from_slice(&[2, 1]),
        data: rows.into(),
    };
    let (seen, hidden) = (tensor("Y", vec![1; 8]), tensor("OUT", vec![1, 1, 1, 1, 2, 2, 2, 2]));
    let responses = split(&batch, vec![hidden, seen.clone()]).unwrap();
    for (response, expected) in responses.iter().zip([[1; 4], [2; 4]]) {
        let names: Vec<_> = response.outputs.iter().map(|output| &*output.name).collect();
        assert_eq!((names, &*response.states[0].data), (vec!["Y"], &expected[..]));
        assert_eq!(&response.states[0].shape[..], [1, 1]);
    }
    let error = split(&batch, vec![seen]).unwrap_err();
    assert_eq!(error.message(), "model 'm' left out a state of its sequences");
}
