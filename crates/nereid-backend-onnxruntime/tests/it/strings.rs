//! BYTES keep every byte: NUL, no UTF-8, empty, long.

use bytes::BytesMut;
use nereid_core::{DataType, string_tensor};

use crate::fixture::{Fixture, config, input, output, parts, unary_config};
use crate::onnx::{Graph, longs, unary};

fn wire(elements: &[&[u8]]) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    elements.iter().for_each(|element| string_tensor::push(&mut buffer, element));
    buffer.to_vec()
}

#[test]
fn any_bytes_survive() {
    let fixture =
        Fixture::new(unary_config(8, DataType::Bytes, &[2]), &unary("Identity", DataType::Bytes, &[-1, 2]));
    let mut instance = fixture.instance();
    let long = vec![0xab; 100_000];
    let batches: [&[&[u8]]; 4] =
        [&[b"a\0b", b""], &[b"\xff\xfe\0", b"caf\xc3\xa9"], &[&long, b"\0"], &[b"", b""]];
    let requests: Vec<_> =
        batches.iter().map(|elements| fixture.request(&[("x", &[1, 2], &wire(elements))])).collect();
    for (response, elements) in fixture.run(&mut *instance, &requests).unwrap().iter().zip(batches) {
        assert_eq!(parts(&response.outputs), [("y", &[1, 2][..], &wire(elements)[..])]);
    }
    for elements in batches {
        let outputs = fixture.run_one(&mut *instance, fixture.request(&[("x", &[1, 2], &wire(elements))]));
        assert_eq!(parts(&outputs), [("y", &[1, 2][..], &wire(elements)[..])]);
    }
}

#[test]
fn strings_that_the_graph_picks() {
    let model = Graph::new()
        .input("x", DataType::Bytes, &[-1])
        .input("i", DataType::Int64, &[-1])
        .output("y", DataType::Bytes, &[-1])
        .node("Gather", &["x", "i"], &["y"])
        .build();
    let config = config(
        0,
        vec![input("x", DataType::Bytes, &[-1]), input("i", DataType::Int64, &[-1])],
        vec![output("y", DataType::Bytes, &[-1])],
    );
    let fixture = Fixture::new(config, &model);
    let request =
        fixture.request(&[("x", &[3], &wire(&[b"zero", b"\0one", b"two"])), ("i", &[2], &longs(&[1, 0]))]);
    let outputs = fixture.run_one(&mut *fixture.instance(), request);
    assert_eq!(parts(&outputs), [("y", &[2][..], &wire(&[b"\0one", b"zero"])[..])]);
}
