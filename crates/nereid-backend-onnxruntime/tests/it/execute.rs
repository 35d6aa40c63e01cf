//! Executions: batches, outputs wanted and not, shapes open, reshaped, scalar or wrongly declared,
//! optional inputs, failures.

use bytes::Bytes;
use nereid_core::DataType::{self, Fp32, Fp64, Int64};
use nereid_core::config::{InputConfig, OutputConfig};
use nereid_core::{InferRequest, InputTensor, Shape, ValidRequest};

use crate::fixture::{Fixture, config, input, output, parts, unary_config};
use crate::onnx::{Attribute, Graph, floats, longs, unary};

#[test]
fn outputs_come_by_name_and_only_if_wanted() {
    let model = Graph::new()
        .input("x", Fp32, &[-1, 2])
        .output("c", Fp32, &[-1, 2])
        .output("a", Fp32, &[-1, 2])
        .output("b", Fp32, &[-1, 2])
        .node("Neg", &["x"], &["a"])
        .node("Abs", &["a"], &["b"])
        .node("Identity", &["x"], &["c"])
        .build();
    let outputs = ["c", "b", "a"].map(|name| output(name, Fp32, &[2]));
    let fixture = Fixture::new(config(8, vec![input("x", Fp32, &[2])], outputs.to_vec()), &model);
    let mut instance = fixture.instance();
    let x = floats(&[-1.0, 2.0]);
    let names = |wanted: &[&[&str]]| -> Vec<Vec<String>> {
        let request = |wanted: &&[&str]| fixture.request_for(&[("x", &[1, 2], &x)], wanted);
        let requests: Vec<_> = wanted.iter().map(request).collect();
        let mut instance = fixture.instance();
        let responses = fixture.run(&mut *instance, &requests).unwrap();
        responses.iter().map(|r| r.outputs.iter().map(|o| o.name.to_string()).collect()).collect()
    };
    assert_eq!(names(&[&[]]), [["a", "b", "c"]]);
    assert_eq!(names(&[&["c", "a"]]), [["a", "c"]]);
    assert_eq!(names(&[&["c"], &["b"]]), [["c"], ["b"]]);
    let all = fixture.run_one(&mut *instance, fixture.request(&[("x", &[1, 2], &x)]));
    let (a, b) = (floats(&[1.0, -2.0]), floats(&[1.0, 2.0]));
    let shape = &[1, 2][..];
    assert_eq!(parts(&all), [("a", shape, &a[..]), ("b", shape, &b[..]), ("c", shape, &x[..])]);
}

#[test]
fn a_batch_gives_each_request_its_rows() {
    let fixture = Fixture::new(unary_config(8, Fp32, &[2]), &unary("Neg", Fp32, &[-1, 2]));
    let mut instance = fixture.instance();
    for _ in 0..3 {
        let requests = [
            fixture.request(&[("x", &[1, 2], &floats(&[1.0, 2.0]))]),
            fixture.request(&[("x", &[2, 2], &floats(&[3.0, 4.0, 5.0, 6.0]))]),
        ];
        let responses = fixture.run(&mut *instance, &requests).unwrap();
        assert_eq!(parts(&responses[0].outputs), [("y", &[1, 2][..], &floats(&[-1.0, -2.0])[..])]);
        assert_eq!(
            parts(&responses[1].outputs),
            [("y", &[2, 2][..], &floats(&[-3.0, -4.0, -5.0, -6.0])[..])]
        );
    }
}

#[test]
fn a_shape_that_depends_on_the_data() {
    let model = Graph::new()
        .input("x", Fp32, &[-1])
        .output("y", Int64, &[1, -1])
        .node("NonZero", &["x"], &["y"])
        .build();
    let fixture =
        Fixture::new(config(0, vec![input("x", Fp32, &[-1])], vec![output("y", Int64, &[1, -1])]), &model);
    let mut instance = fixture.instance();
    for (x, expected) in [
        (&[0.0, 1.0, 0.0, 2.0][..], &[1, 3][..]),
        (&[0.0], &[]),
        (&[1.0; 3000], &(0..3000).collect::<Vec<_>>()),
    ] {
        let outputs =
            fixture.run_one(&mut *instance, fixture.request(&[("x", &[x.len() as i64], &floats(x))]));
        assert_eq!(parts(&outputs), [("y", &[1, expected.len() as i64][..], &longs(expected)[..])]);
    }
}

#[test]
fn a_response_outlives_the_instance_and_the_model() {
    let fixture = Fixture::new(unary_config(0, Fp32, &[-1]), &unary("Neg", Fp32, &[-1]));
    let x: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
    let request = fixture.request(&[("x", &[100_000], &floats(&x))]);
    let outputs = fixture.run_one(&mut *fixture.instance(), request);
    let expected: Vec<f32> = x.iter().map(|x| -x).collect();
    let read = std::thread::spawn(move || outputs[0].data.to_vec()).join().unwrap();
    assert!(read == floats(&expected));
}

#[test]
fn reshape_there_and_back() {
    let config = config(
        8,
        vec![InputConfig { reshape: Some(vec![]), ..input("x", Fp32, &[1]) }],
        vec![OutputConfig { reshape: Some(vec![]), ..output("y", Fp32, &[1]) }],
    );
    let fixture = Fixture::new(config, &unary("Neg", Fp32, &[-1]));
    let outputs = fixture
        .run_one(&mut *fixture.instance(), fixture.request(&[("x", &[3, 1], &floats(&[1.0, 2.0, 3.0]))]));
    assert_eq!(parts(&outputs), [("y", &[3, 1][..], &floats(&[-1.0, -2.0, -3.0])[..])]);

    let config = crate::fixture::config(
        0,
        vec![InputConfig { reshape: Some(vec![4, -1]), ..input("x", Fp32, &[2, -1, 2]) }],
        vec![OutputConfig { reshape: Some(vec![4, -1]), ..output("y", Fp32, &[-1, 4]) }],
    );
    let fixture = Fixture::new(config, &unary("Neg", Fp32, &[4, -1]));
    let x = floats(&(0..12).map(|i| i as f32).collect::<Vec<_>>());
    let outputs = fixture.run_one(&mut *fixture.instance(), fixture.request(&[("x", &[2, 3, 2], &x)]));
    assert_eq!(outputs[0].shape[..], [3, 4]);
}

#[test]
fn scalars() {
    let fixture = Fixture::new(unary_config(0, Fp32, &[1]), &unary("Neg", Fp32, &[]));
    let outputs = fixture.run_one(&mut *fixture.instance(), fixture.request(&[("x", &[1], &floats(&[5.0]))]));
    assert_eq!(parts(&outputs), [("y", &[1][..], &floats(&[-5.0])[..])]);
}

#[test]
fn optional_inputs_have_defaults() {
    let model = Graph::new()
        .input("x", Fp32, &[2])
        .input("w", Fp32, &[2])
        .initializer("w", Fp32, &[2], &floats(&[10.0, 20.0]))
        .output("y", Fp32, &[2])
        .node("Add", &["x", "w"], &["y"])
        .build();
    let w = InputConfig { optional: true, ..input("w", Fp32, &[2]) };
    let fixture =
        Fixture::new(config(0, vec![w, input("x", Fp32, &[2])], vec![output("y", Fp32, &[2])]), &model);
    let mut instance = fixture.instance();
    let x = floats(&[1.0, 2.0]);
    let without = fixture.run_one(&mut *instance, fixture.request(&[("x", &[2], &x)]));
    assert_eq!(parts(&without), [("y", &[2][..], &floats(&[11.0, 22.0])[..])]);
    let with = fixture.request(&[("x", &[2], &x), ("w", &[2], &floats(&[100.0, 200.0]))]);
    assert_eq!(
        parts(&fixture.run_one(&mut *instance, with)),
        [("y", &[2][..], &floats(&[101.0, 202.0])[..])]
    );
    let without = fixture.run_one(&mut *instance, fixture.request(&[("x", &[2], &x)]));
    assert_eq!(parts(&without), [("y", &[2][..], &floats(&[11.0, 22.0])[..])]);
}

#[test]
fn an_input_that_is_an_output_too() {
    for dims in [&[2][..], &[-1]] {
        let shape = [&[-1], dims].concat();
        let model = Graph::new()
            .input("x", Fp32, &shape)
            .output("x", Fp32, &shape)
            .output("y", Fp32, &shape)
            .node("Neg", &["x"], &["y"])
            .build();
        let outputs = ["x", "y"].map(|name| output(name, Fp32, dims)).to_vec();
        let fixture = Fixture::new(config(8, vec![input("x", Fp32, dims)], outputs), &model);
        for columns in [2, 4000] {
            if dims == [2] && columns > 2 {
                continue;
            }
            let x = floats(&vec![1.0; columns]);
            let request = fixture.request(&[("x", &[1, columns as i64], &x)]);
            let outputs = fixture.run_one(&mut *fixture.instance(), request); // the request is gone now
            assert_eq!(parts(&outputs)[0], ("x", &[1, columns as i64][..], &x[..]));
            assert_eq!(outputs[1].data[..], floats(&vec![-1.0; columns]));
        }
    }
}

#[test]
fn an_output_that_is_constant() {
    for values in [vec![7.0; 2], vec![7.0; 5000]] {
        let shape = [values.len() as i64];
        let model = Graph::new()
            .input("x", Fp32, &[1])
            .initializer("w", Fp32, &shape, &floats(&values))
            .output("w", Fp32, &shape)
            .output("y", Fp32, &shape)
            .node("Identity", &["w"], &["y"])
            .output("z", Fp32, &[1])
            .node("Neg", &["x"], &["z"])
            .build();
        let outputs = vec![output("w", Fp32, &shape), output("y", Fp32, &shape), output("z", Fp32, &[1])];
        let fixture = Fixture::new(config(0, vec![input("x", Fp32, &[1])], outputs), &model);
        for _ in 0..2 {
            let outputs =
                fixture.run_one(&mut *fixture.instance(), fixture.request(&[("x", &[1], &floats(&[1.0]))]));
            assert_eq!(outputs[0].data[..], floats(&values));
            assert_eq!(outputs[1].data[..], floats(&values));
        }
    }
}

#[test]
fn outputs_that_are_not_what_the_graph_declares() {
    // The graph says [2], but gives what the Gather gives; ONNX Runtime only warns.
    let model = Graph::new()
        .input("x", Fp32, &[4])
        .input("i", Int64, &[-1])
        .output("y", Fp32, &[2])
        .node("Squeeze", &["g"], &["y"])
        .node("Unsqueeze", &["x", "zero"], &["u"])
        .initializer("zero", Int64, &[1], &longs(&[0]))
        .node_with("Gather", &["u", "i"], &["g"], &[Attribute::Int("axis", 1)])
        .build();
    let inputs = vec![input("x", Fp32, &[4]), input("i", Int64, &[-1])];
    let fixture = Fixture::new(config(0, inputs, vec![output("y", Fp32, &[2])]), &model);
    let mut instance = fixture.instance();
    let x = floats(&[1.0, 2.0, 3.0, 4.0]);
    for (indices, expected) in
        [(&[0, 1][..], &[1.0, 2.0][..]), (&[3, 2, 1], &[4.0, 3.0, 2.0]), (&[1, 0], &[2.0, 1.0])]
    {
        let i = longs(indices);
        let request = fixture.request(&[("x", &[4], &x), ("i", &[indices.len() as i64], &i)]);
        let outputs = fixture.run_one(&mut *instance, request);
        assert_eq!(parts(&outputs), [("y", &[expected.len() as i64][..], &floats(expected)[..])]);
    }
}

#[test]
fn an_output_without_a_declared_shape() {
    let model = Graph::new()
        .input("x", Fp32, &[-1, 2])
        .shapeless_output("y", Fp32)
        .node("Neg", &["x"], &["y"])
        .build();
    let fixture =
        Fixture::new(config(8, vec![input("x", Fp32, &[2])], vec![output("y", Fp32, &[2])]), &model);
    let outputs =
        fixture.run_one(&mut *fixture.instance(), fixture.request(&[("x", &[1, 2], &floats(&[1.0, 2.0]))]));
    assert_eq!(parts(&outputs), [("y", &[1, 2][..], &floats(&[-1.0, -2.0])[..])]);
}

#[test]
fn a_failed_run_leaves_the_instance_usable() {
    for dims in [&[1][..], &[-1]] {
        let model = Graph::new()
            .input("x", Fp32, &[3])
            .input("i", Int64, &[-1])
            .output("y", Fp32, &[-1])
            .node("Gather", &["x", "i"], &["y"])
            .build();
        let graph_dims = if dims == [1] { &[1][..] } else { &[-1] };
        let model = if dims == [1] {
            Graph::new()
                .input("x", Fp32, &[3])
                .input("i", Int64, &[1])
                .output("y", Fp32, &[1])
                .node("Gather", &["x", "i"], &["y"])
                .build()
        } else {
            model
        };
        let inputs = vec![input("x", Fp32, &[3]), input("i", Int64, graph_dims)];
        let fixture = Fixture::new(config(0, inputs, vec![output("y", Fp32, dims)]), &model);
        let mut instance = fixture.instance();
        let x = floats(&[1.0, 2.0, 3.0]);
        for (index, expected) in [(9, None), (2, Some(3.0)), (-9, None), (0, Some(1.0))] {
            let request = fixture.request(&[("x", &[3], &x), ("i", &[1], &longs(&[index]))]);
            let got = fixture.run(&mut *instance, &[request]).map(|r| r[0].outputs[0].data.to_vec());
            match expected {
                Some(value) => assert_eq!(got, Ok(floats(&[value]))),
                None => {
                    let error = got.unwrap_err().with_code();
                    assert!(error.starts_with("Internal: onnx runtime error 2: "), "{error}");
                    assert!(error.contains("idx="), "{error}");
                }
            }
        }
    }
}

#[test]
fn a_failed_run_is_not_run_again() {
    // The random numbers go on with each run, whether it succeeds or not.
    let model = Graph::new()
        .input("x", Fp32, &[3])
        .input("i", Int64, &[1])
        .output("r", Fp32, &[3])
        .output("y", Fp32, &[1])
        .node_with("RandomUniformLike", &["x"], &["r"], &[Attribute::Float("seed", 1.0)])
        .node("Add", &["x", "r"], &["s"])
        .node("Gather", &["s", "i"], &["y"])
        .build();
    let inputs = vec![input("x", Fp32, &[3]), input("i", Int64, &[1])];
    let outputs = vec![output("r", Fp32, &[3]), output("y", Fp32, &[1])];
    let fixture = Fixture::new(config(0, inputs, outputs), &model);
    let draws = |indices: [i64; 3]| {
        let mut instance = fixture.instance();
        indices.map(|index| {
            let (x, i) = (floats(&[0.0; 3]), longs(&[index]));
            let request = fixture.request(&[("x", &[3], &x), ("i", &[1], &i)]);
            fixture.run(&mut *instance, &[request]).map(|r| r[0].outputs[0].data.to_vec()).ok()
        })
    };
    let [first, second, third] = draws([0, 0, 0]);
    assert!(first.is_some() && first != second && second != third);
    assert_eq!(draws([0, 9, 0]), [first, None, third]);
}

#[test]
fn inputs_at_odd_addresses() {
    let fixture = Fixture::new(unary_config(8, Fp64, &[2]), &unary("Neg", Fp64, &[-1, 2]));
    let mut instance = fixture.instance();
    let numbers = |values: &[f64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    for offset in 0..8 {
        let memory = [vec![0; offset], numbers(&[1.5, -2.5])].concat();
        let data = Bytes::from(memory).slice(offset..);
        let (name, shape) = ("x".to_owned(), Shape::from_slice(&[1, 2]));
        let request = InferRequest {
            inputs: vec![InputTensor { name, datatype: Fp64, shape, data }],
            ..Default::default()
        };
        let request = ValidRequest::new(request, &fixture.config).unwrap();
        let outputs = fixture.run_one(&mut *instance, request);
        assert_eq!(parts(&outputs), [("y", &[1, 2][..], &numbers(&[-1.5, 2.5])[..])], "{offset}");
    }
}

#[test]
fn a_second_input_of_another_type() {
    let model = Graph::new()
        .input("x", Fp32, &[-1, 2])
        .input("c", DataType::Bool, &[-1, 1])
        .input("z", Fp32, &[-1, 2])
        .output("y", Fp32, &[-1, 2])
        .node("Where", &["c", "x", "z"], &["y"])
        .build();
    let inputs = vec![input("z", Fp32, &[2]), input("c", DataType::Bool, &[1]), input("x", Fp32, &[2])];
    let fixture = Fixture::new(config(4, inputs, vec![output("y", Fp32, &[2])]), &model);
    let request = |c: u8, x: f32, z: f32| {
        fixture.request(&[
            ("c", &[1, 1], &[c]),
            ("x", &[1, 2], &floats(&[x, x])),
            ("z", &[1, 2], &floats(&[z, z])),
        ])
    };
    let mut instance = fixture.instance();
    let responses = fixture.run(&mut *instance, &[request(0, 1.0, 2.0), request(1, 3.0, 4.0)]).unwrap();
    assert_eq!(responses[0].outputs[0].data[..], floats(&[2.0, 2.0]));
    assert_eq!(responses[1].outputs[0].data[..], floats(&[3.0, 3.0]));
}
