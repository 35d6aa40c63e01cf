//! Ragged inputs, batch inputs and scattered outputs with real graphs.

use nereid_core::DataType::{self, Bytes, Fp32, Int32, Int64};
use nereid_core::ValidRequest;
use nereid_core::config::{
    BatchInput, BatchInputElement, BatchInputKind, BatchOutput, InputConfig, OutputConfig,
};

use crate::fixture::{Fixture, config, input, output, parts};
use crate::onnx::{Graph, floats, longs, unary};

fn ragged(name: &str, datatype: DataType, dims: &[i64]) -> InputConfig {
    InputConfig { allow_ragged_batch: true, ..input(name, datatype, dims) }
}

fn made(kind: BatchInputKind, element: BatchInputElement, targets: &[&str]) -> BatchInput {
    BatchInput { kind, element, targets: targets.iter().map(|name| (*name).into()).collect(), source: 0 }
}

fn ints(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A request for each shape, of numbers that count on from one request to the next.
fn requests(fixture: &Fixture, shapes: &[&[i64]]) -> Vec<ValidRequest> {
    let mut next = 0;
    let mut request = |shape: &&[i64]| {
        let start = next;
        next += shape.iter().product::<i64>();
        let data = floats(&(start..next).map(|n| n as f32).collect::<Vec<_>>());
        fixture.request(&[("x", shape, &data)])
    };
    shapes.iter().map(&mut request).collect()
}

/// Every request sees the whole batch: `x` in `all`, the batch input `n` in `counts`, and `t` in `about`. The rows are as
/// many as `n` has numbers, which must not be 0.
fn seeing(kinds: [BatchInputKind; 2]) -> Fixture {
    let mut graph = Graph::new()
        .input("x", Fp32, &[-1])
        .input("n", Fp32, &[-1])
        .input("t", Fp32, &[-1])
        .initializer("row", Int64, &[2], &longs(&[1, -1]))
        .initializer("column", Int64, &[2], &longs(&[-1, 1]))
        .node("Div", &["n", "n"], &["ones"])
        .node("Reshape", &["ones", "column"], &["rows"]);
    for (from, row, to) in [("x", "x_row", "all"), ("n", "n_row", "counts"), ("t", "t_row", "about")] {
        graph = graph.output(to, Fp32, &[-1, -1]).node("Reshape", &[from, "row"], &[row]).node(
            "MatMul",
            &["rows", row],
            &[to],
        );
    }
    let outputs = ["all", "counts", "about"].map(|name| output(name, Fp32, &[-1])).to_vec();
    let mut config = config(8, vec![ragged("x", Fp32, &[-1])], outputs);
    let targets = [&["n"], &["t"]];
    config.batch_inputs = kinds
        .into_iter()
        .zip(targets)
        .map(|(kind, targets)| made(kind, BatchInputElement::Fp32, targets))
        .collect();
    Fixture::new(config, &graph.build())
}

#[test]
fn a_ragged_batch_and_what_tells_about_it() {
    use BatchInputKind::*;
    for (kinds, counts, about) in [
        (
            [ElementCount, AccumulatedElementCountWithZero],
            [2.0, 4.0, 1.0, 3.0],
            &[0.0, 2.0, 6.0, 7.0, 10.0][..],
        ),
        ([AccumulatedElementCount, MaxElementCountAsShape], [2.0, 6.0, 7.0, 10.0], &[0.0; 4]),
    ] {
        let fixture = seeing(kinds);
        let mut instance = fixture.instance();
        let requests = requests(&fixture, &[&[1, 2], &[1, 4], &[1, 1], &[1, 3]]);
        for _ in 0..2 {
            let responses = fixture.run(&mut *instance, &requests).unwrap();
            let all = floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
            let expected = [
                ("about", &[1, about.len() as i64][..], &floats(about)[..]),
                ("all", &[1, 10], &all),
                ("counts", &[1, 4], &floats(&counts)),
            ];
            for response in responses {
                assert_eq!(parts(&response.outputs), expected);
            }
        }
        let alone = fixture.run(&mut *instance, &requests[1..2]).unwrap();
        let all = &alone[0].outputs[1];
        assert_eq!((&all.shape[..], &all.data[..]), (&[1, 4][..], &floats(&[2.0, 3.0, 4.0, 5.0])[..]));
    }
}

#[test]
fn the_shape_of_each_item() {
    let graph = Graph::new()
        .input("x", Fp32, &[-1])
        .input("t", Fp32, &[-1, 2])
        .output("y", Fp32, &[-1, 2])
        .node("Identity", &["t"], &["y"])
        .build();
    let mut config = config(4, vec![ragged("x", Fp32, &[-1, -1])], vec![output("y", Fp32, &[2])]);
    config.batch_inputs = vec![made(BatchInputKind::ItemShape, BatchInputElement::Fp32, &["t"])];
    let fixture = Fixture::new(config, &graph);
    let requests = requests(&fixture, &[&[2, 1, 2], &[1, 1, 2], &[1, 2, 2]]);
    let responses = fixture.run(&mut *fixture.instance(), &requests).unwrap();
    let got: Vec<_> = responses.iter().map(|r| r.outputs[0].data.to_vec()).collect();
    assert_eq!(got, [floats(&[1.0, 2.0, 1.0, 2.0]), floats(&[1.0, 2.0]), floats(&[2.0, 2.0])]);
}

#[test]
fn one_batch_input_for_two_inputs_of_the_model() {
    let graph = Graph::new()
        .input("x", Fp32, &[-1])
        .input("t", Int32, &[-1])
        .input("u", Int32, &[-1])
        .output("y", Int32, &[-1])
        .node("Add", &["t", "u"], &["y"])
        .build();
    let count = OutputConfig { reshape: Some(vec![]), ..output("y", Int32, &[1]) };
    let mut config = config(4, vec![ragged("x", Fp32, &[-1])], vec![count]);
    config.batch_inputs = vec![made(BatchInputKind::ElementCount, BatchInputElement::Int32, &["t", "u"])];
    let fixture = Fixture::new(config, &graph);
    let requests = requests(&fixture, &[&[1, 3], &[1, 0], &[1, 5]]);
    let responses = fixture.run(&mut *fixture.instance(), &requests).unwrap();
    for (response, twice) in responses.iter().zip([6, 0, 10]) {
        assert_eq!(parts(&response.outputs), [("y", &[1, 1][..], &ints(&[twice])[..])]);
    }
}

#[test]
fn outputs_are_scattered_by_the_shape_of_an_input() {
    let scattered = |datatype| {
        let mut config = config(8, vec![ragged("x", datatype, &[-1])], vec![output("y", datatype, &[-1])]);
        config.batch_outputs = vec![BatchOutput { output: 0, source: 0 }];
        config
    };
    let fixture = Fixture::new(scattered(Fp32), &unary("Neg", Fp32, &[-1]));
    let mut instance = fixture.instance();
    let shapes: [&[i64]; 4] = [&[1, 2], &[2, 2], &[1, 0], &[1, 3000]];
    let responses = fixture.run(&mut *instance, &requests(&fixture, &shapes)).unwrap();
    let mut next = 0;
    for (response, shape) in responses.iter().zip(shapes) {
        let start = next;
        next += shape.iter().product::<i64>();
        let expected = floats(&(start..next).map(|n| -(n as f32)).collect::<Vec<_>>());
        assert_eq!(parts(&response.outputs), [("y", shape, &expected[..])]);
    }
    let fixture = Fixture::new(scattered(Bytes), &unary("Identity", Bytes, &[-1]));
    let words = |count: usize| [&[2, 0, 0, 0, b'a', 0][..]; 3][..count].concat();
    let requests = [1, 2].map(|count| fixture.request(&[("x", &[1, count as i64], &words(count))]));
    let responses = fixture.run(&mut *fixture.instance(), &requests).unwrap();
    assert_eq!(parts(&responses[0].outputs), [("y", &[1, 1][..], &words(1)[..])]);
    assert_eq!(parts(&responses[1].outputs), [("y", &[1, 2][..], &words(2)[..])]);
}

#[test]
fn a_model_that_gives_too_little_fails_its_batch_alone() {
    let graph = Graph::new()
        .input("x", Fp32, &[-1])
        .output("y", Fp32, &[-1])
        .initializer("start", Int64, &[1], &longs(&[0]))
        .initializer("end", Int64, &[1], &longs(&[3]))
        .node("Slice", &["x", "start", "end"], &["y"])
        .build();
    let mut config = config(8, vec![ragged("x", Fp32, &[-1])], vec![output("y", Fp32, &[-1])]);
    config.batch_outputs = vec![BatchOutput { output: 0, source: 0 }];
    let fixture = Fixture::new(config, &graph);
    let mut instance = fixture.instance();
    let error = fixture.run(&mut *instance, &requests(&fixture, &[&[1, 2], &[1, 2]])).unwrap_err();
    assert_eq!(error.message(), "output 'y' has less data than its shape [3] says");
    assert!(fixture.run(&mut *instance, &requests(&fixture, &[&[1, 2]])).is_ok());
}
