//! Inputs that the scheduler adds and outputs that it takes: controls and states of sequences.

use nereid_core::DataType::Fp32;
use nereid_core::config::{
    Control, Direct, Flag, Scheduling, SequenceBatching, State, StateTensor, Strategy,
};
use nereid_core::{ModelConfig, Shape, ValidInput};

use crate::fixture::{config, encode, input, on_both, output, outputs, tensor};

/// `NEXT` is what `STATE` and `X` come to, and so is what clients see besides it.
const PLAN: &str =
    "op add_sub\nin STATE 0 -1x1 1x1 2x1 4x1\nin X 0 -1x1 1x1 2x1 4x1\nout NEXT 0 -1x1\nout Y 0 -1x1";

fn accumulator() -> ModelConfig {
    let mut config = config(4, vec![input("X", Fp32, &[1])], vec![output("Y", Fp32, &[1])]);
    let float = |value: f32| encode(Fp32, &[value]);
    config.injected_inputs = vec![input("STATE", Fp32, &[1])];
    config.hidden_outputs = vec![output("NEXT", Fp32, &[1])];
    config.scheduling = Scheduling::Sequence(SequenceBatching {
        strategy: Strategy::Direct(Direct::default()),
        max_idle_us: 1_000_000,
        controls: Vec::new(),
        states: vec![State {
            output: 1,
            initial: StateTensor { shape: Shape::from_slice(&[1, 1]), data: float(0.0) },
        }],
        iterative: false,
    });
    config
}

#[test]
fn states_go_round() {
    on_both(|setup| {
        let served = setup.load(accumulator(), PLAN);
        let mut instance = served.instance();
        let mut states = [1.0_f32, 10.0];
        for (x, expected) in [(2.0, [3.0, 12.0]), (5.0, [8.0, 17.0])] {
            let requests = states.map(|state| {
                let mut request = served.request(&[("X", &[1, 1], &[x])]);
                let (shape, data) = (Shape::from_slice(&[1, 1]), encode(Fp32, &[state]));
                request.inject([ValidInput { index: 1, shape, data, device: None }]);
                request
            });
            let responses = served.run(&mut *instance, &requests).unwrap();
            for ((response, state), next) in responses.iter().zip(&mut states).zip(expected) {
                assert_eq!(outputs(response), [tensor("Y", &[1, 1], &[*state - x])]);
                assert_eq!(response.states[0].data, encode(Fp32, &[next]));
                *state = next;
            }
        }
    });
}

#[test]
fn controls() {
    on_both(|setup| {
        let plan = "op identity\nin START 0 -1x1 1x1 2x1 4x1\nin X 0 -1x1 1x1 2x1 4x1\nout STARTED 0 -1x1\nout Y 0 -1x1";
        let outs = ["STARTED", "Y"].map(|name| output(name, Fp32, &[1]));
        let mut config = config(4, vec![input("X", Fp32, &[1])], outs.to_vec());
        config.injected_inputs = vec![input("START", Fp32, &[1])];
        let flag = Flag { no: encode(Fp32, &[0.0]), yes: encode(Fp32, &[1.0]) };
        config.scheduling = Scheduling::Sequence(SequenceBatching {
            strategy: Strategy::Direct(Direct::default()),
            max_idle_us: 1_000_000,
            controls: vec![Control::Start(flag)],
            states: Vec::new(),
            iterative: false,
        });
        let served = setup.load(config, plan);
        let mut instance = served.instance();
        let requests = [1.0, 0.0].map(|start| {
            let mut request = served.request(&[("X", &[1, 1], &[7.0])]);
            let (shape, data) = (Shape::from_slice(&[1, 1]), encode(Fp32, &[start]));
            request.inject([ValidInput { index: 1, shape, data, device: None }]);
            request
        });
        let responses = served.run(&mut *instance, &requests).unwrap();
        for (response, start) in responses.iter().zip([1.0, 0.0]) {
            assert_eq!(
                outputs(response),
                [tensor("STARTED", &[1, 1], &[start]), tensor("Y", &[1, 1], &[7.0])]
            );
        }
    });
}
