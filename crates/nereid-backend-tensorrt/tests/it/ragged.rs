//! Ragged inputs, inputs that tell about the batch, and outputs that are scattered by the shapes of an input.

use nereid_core::DataType::{Fp32, Int32};
use nereid_core::ModelConfig;
use nereid_core::config::{BatchInput, BatchInputElement, BatchInputKind, BatchOutput, InputConfig};

use crate::fixture::{config, input, on_both, output, outputs, tensor};

/// `VALUES` is `X`, all requests behind one another; `COUNTS` what was made for the batch.
const PLAN: &str = "op identity\nin X 0 -1 1 16 64\nin N 3 -1 1 4 8\nout VALUES 0 -1\nout COUNTS 3 -1";

fn ragged(kind: BatchInputKind) -> ModelConfig {
    let x = InputConfig { allow_ragged_batch: true, ..input("X", Fp32, &[-1]) };
    let mut config = config(8, vec![x], vec![output("VALUES", Fp32, &[-1]), output("COUNTS", Int32, &[])]);
    config.outputs[1].dims = vec![1];
    config.outputs[1].reshape = Some(Vec::new());
    config.batch_inputs =
        vec![BatchInput { kind, element: BatchInputElement::Int32, targets: vec!["N".into()], source: 0 }];
    config.batch_outputs = vec![BatchOutput { output: 0, source: 0 }];
    config
}

#[test]
fn every_request_gets_its_own() {
    for (kind, counts) in [
        (BatchInputKind::ElementCount, [2.0, 3.0, 1.0]),
        (BatchInputKind::AccumulatedElementCount, [2.0, 5.0, 6.0]),
    ] {
        on_both(|setup| {
            let served = setup.load(ragged(kind), PLAN);
            let mut instance = served.instance();
            let requests: Vec<_> = [&[1.0, 2.0][..], &[3.0, 4.0, 5.0], &[6.0]]
                .map(|values| served.request(&[("X", &[1, values.len() as i64], values)]))
                .into();
            let responses = served.run(&mut *instance, &requests).unwrap();
            let values: [&[f32]; 3] = [&[1.0, 2.0], &[3.0, 4.0, 5.0], &[6.0]];
            for ((response, values), count) in responses.iter().zip(values).zip(counts) {
                let shape = [1, values.len() as i64];
                assert_eq!(
                    outputs(response),
                    [tensor("VALUES", &shape, values), tensor("COUNTS", &[1, 1], &[count])]
                );
            }
            assert_eq!(setup.device.take_copies().to_device, 1, "what was made goes along");
        });
    }
}
