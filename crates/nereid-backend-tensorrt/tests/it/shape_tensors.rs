//! Tensors of sizes: values go to the engine in host memory, once for a whole batch.

use nereid_core::DataType::{self, Fp32, Int32, Int64};
use nereid_core::ModelConfig;
use nereid_core::config::{InputConfig, OutputConfig, TensorForm};

use crate::fixture::{config, input, on_both, output, outputs, tensor};

fn sizes(name: &str, datatype: DataType, dims: &[i64]) -> InputConfig {
    InputConfig { form: TensorForm::Shape, ..input(name, datatype, dims) }
}

fn sizes_output(name: &str, dims: &[i64]) -> OutputConfig {
    OutputConfig { form: TensorForm::Shape, ..output(name, Int64, dims) }
}

#[test]
fn sizes_of_an_output() {
    for (datatype, number) in [(Int32, 3), (Int64, 8)] {
        on_both(|setup| {
            let plan = format!(
                "op reshape\nin X 0 12\nin SHAPE {number} 2 location=host shape_io values=1,1:3,4:12,12\nout Y 0 -1x-1"
            );
            let inputs = vec![input("X", Fp32, &[12]), sizes("SHAPE", datatype, &[2])];
            let served = setup.load(config(0, inputs, vec![output("Y", Fp32, &[-1, -1])]), &plan);
            let mut instance = served.instance();
            let values: Vec<f32> = (0..12).map(|n| n as f32).collect();
            let request = |shape: [f32; 2]| served.request(&[("X", &[12], &values), ("SHAPE", &[2], &shape)]);
            for shape in [[3, 4], [12, 1], [2, 6]] {
                let responses = served.run(&mut *instance, &[request(shape.map(|n| n as f32))]).unwrap();
                assert_eq!(outputs(&responses[0]), [tensor("Y", &shape.map(i64::from), &values)]);
            }
            assert_eq!(
                served.run_error(&mut *instance, &[request([13.0, 1.0])]),
                "Invalid argument: The shape value at index 0 is expected to be in range from 1 to 12, Got: 13"
            );
            let error = served.run_error(&mut *instance, &[request([5.0, 2.0])]);
            assert!(error.starts_with(
                "Internal: failed to specify the dimensions of all input tensors or values of all input shape tensors: "
            ));
            assert!(error.contains("reshape would change volume"), "{error}");
            let responses = served.run(&mut *instance, &[request([1.0, 12.0])]).unwrap();
            assert_eq!(
                outputs(&responses[0]),
                [tensor("Y", &[1, 12], &values)],
                "errors leave nothing behind"
            );
        });
    }
}

fn filling() -> ModelConfig {
    let inputs = vec![sizes("SHAPE", Int32, &[1]), input("X", Fp32, &[1])];
    config(8, inputs, vec![output("Y", Fp32, &[-1]), output("Z", Fp32, &[1])])
}

/// The engine's tensor begins with the rows of the batch; requests have the other values, and all the same.
#[test]
fn rows_come_first() {
    on_both(|setup| {
        let plan = "op fill\nin SHAPE 3 2 location=host shape_io values=1,1:4,4:8,16\nin X 0 -1x1 1x1 4x1 8x1\nout Y 0 -1x-1";
        let mut config = filling();
        config.outputs.truncate(1);
        let served = setup.load(config, plan);
        let mut instance = served.instance();
        let request = |rows: i64| {
            served.request(&[("SHAPE", &[1], &[3.0]), ("X", &[rows, 1], &vec![0.0; rows as usize])])
        };
        let responses = served.run(&mut *instance, &[request(1), request(2)]).unwrap();
        assert_eq!(outputs(&responses[0]), [tensor("Y", &[1, 3], &[0., 1., 2.])]);
        assert_eq!(outputs(&responses[1]), [tensor("Y", &[2, 3], &[3., 4., 5., 6., 7., 8.])]);
    });
}

#[test]
fn sizes_as_outputs() {
    on_both(|setup| {
        let plan = "op shape\nin X 0 -1x-1 1x1 4x4 8x8\nout SHAPE 8 2 location=host shape_io";
        let served =
            setup.load(config(0, vec![input("X", Fp32, &[-1, -1])], vec![sizes_output("SHAPE", &[2])]), plan);
        let mut instance = served.instance();
        let request = served.request(&[("X", &[2, 3], &[0.0; 6])]);
        let responses = served.run(&mut *instance, &[request]).unwrap();
        assert_eq!(outputs(&responses[0]), [tensor("SHAPE", &[2], &[2., 3.])]);
        drop(instance);
        let served =
            setup.load(config(8, vec![input("X", Fp32, &[-1])], vec![sizes_output("SHAPE", &[1])]), plan);
        let mut instance = served.instance();
        let request = |rows: i64| served.request(&[("X", &[rows, 3], &vec![0.0; 3 * rows as usize])]);
        let responses = served.run(&mut *instance, &[request(1), request(2)]).unwrap();
        assert_eq!(outputs(&responses[0]), [tensor("SHAPE", &[1, 1], &[3.])]);
        assert_eq!(outputs(&responses[1]), [tensor("SHAPE", &[2, 1], &[3., 3.])]);
    });
}
