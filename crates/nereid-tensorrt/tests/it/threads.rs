//! Eight threads, each with a context of one engine. The stand-in ends the process when two use one at once.

use std::sync::Arc;
use std::thread;

use nereid_tensorrt::AllocationStrategy;

use crate::fixture::{ADD_SUB, MAJORS, bind, buffer, choose, device, engine, enqueue, values};

#[test]
fn eight_contexts() {
    for major in MAJORS {
        let engine = engine(major, ADD_SUB);
        thread::scope(|scope| {
            for thread in 0..8 {
                let engine = Arc::clone(&engine);
                scope.spawn(move || {
                    let device = device();
                    let mut context = engine.create_context(AllocationStrategy::Static).unwrap();
                    choose(&mut context, 0);
                    for round in 1..=50 {
                        let rows = 1 + (thread + round) % 8;
                        let count = rows * 4;
                        let left = buffer(&device, &vec![thread as f32; count]);
                        let right = buffer(&device, &vec![round as f32; count]);
                        let [sum, difference] = [0, 1].map(|_| buffer(&device, &vec![0_f32; count]));
                        for tensor in 0..2 {
                            context.set_input_shape(tensor, &[rows as i64, 4]).unwrap();
                        }
                        for (tensor, memory) in [&left, &right, &sum, &difference].into_iter().enumerate() {
                            bind(&mut context, tensor, memory.address());
                        }
                        enqueue(&mut context).unwrap();
                        let expected = vec![(thread + round) as f32; count];
                        assert_eq!(values::<f32>(&device, sum.address(), count), expected);
                    }
                });
            }
        });
    }
}

/// Plans are read and contexts made by several threads at once; TensorRT sees one at a time.
#[test]
fn one_runtime() {
    for major in MAJORS {
        let runtime = crate::fixture::runtime(major);
        let plan = crate::fixture::plan(ADD_SUB);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let engine = runtime.deserialize(plan.as_bytes()).unwrap();
                        let contexts =
                            [0; 3].map(|_| engine.create_context(AllocationStrategy::Static).unwrap());
                        drop((engine, contexts));
                    }
                });
            }
        });
    }
}
