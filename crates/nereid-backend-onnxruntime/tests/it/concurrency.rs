//! Several instances on one session at once.

use std::sync::Barrier;

use nereid_core::DataType::Fp32;

use crate::fixture::{Fixture, cpu, unary_config};
use crate::onnx::{floats, unary};

#[test]
fn eight_threads_on_eight_instances() {
    let mut config = unary_config(8, Fp32, &[-1]);
    config.instances = vec![cpu(); 8];
    let fixture = Fixture::new(config, &unary("Neg", Fp32, &[-1, -1]));
    let model = fixture.load().unwrap();
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let mut instance = model.create_instance(&cpu()).unwrap();
            let (fixture, start) = (&fixture, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..200 {
                    let columns = 1 + (round * 37 + thread) % 3000; // copied and handed out
                    let value = (thread * 1000 + round) as f32;
                    let x = floats(&vec![value; columns]);
                    let request = || fixture.request(&[("x", &[1, columns as i64], &x)]);
                    let responses = fixture.run(&mut *instance, &[request(), request()]).unwrap();
                    for response in responses {
                        assert!(response.outputs[0].data[..] == floats(&vec![-value; columns]));
                    }
                }
            });
        }
    });
}

#[test]
fn instances_outlive_their_model() {
    let fixture = Fixture::new(unary_config(8, Fp32, &[1]), &unary("Neg", Fp32, &[-1, 1]));
    let model = fixture.load().unwrap();
    let mut instances = [model.create_instance(&cpu()).unwrap(), model.create_instance(&cpu()).unwrap()];
    drop(model);
    for instance in &mut instances {
        let outputs = fixture.run_one(&mut **instance, fixture.request(&[("x", &[1, 1], &floats(&[1.0]))]));
        assert_eq!(outputs[0].data[..], floats(&[-1.0]));
    }
}
