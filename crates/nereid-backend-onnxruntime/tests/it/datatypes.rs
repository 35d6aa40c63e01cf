//! Every datatype goes in and comes out as the same bytes, with sizes known and unknown, small enough to
//! be copied and large enough to be handed out, and with no elements at all.

use nereid_core::DataType;

use crate::fixture::{Fixture, parts, unary_config};
use crate::onnx::unary;

/// `rows` rows of `columns` elements; BYTES elements are one byte long.
fn data(datatype: DataType, rows: usize, columns: usize) -> Vec<u8> {
    match datatype.size_bytes() {
        None => (0..rows * columns).flat_map(|i| [1, 0, 0, 0, i as u8]).collect(),
        // Bits that are valid for every type: 0 and 1 for BOOL, anything for numbers.
        Some(size) => (0..rows * columns * size).map(|i| (i % 2) as u8).collect(),
    }
}

fn check(datatype: DataType, dims: &[i64], columns: usize) {
    let shape = [&[-1], dims].concat();
    let fixture = Fixture::new(unary_config(8, datatype, dims), &unary("Identity", datatype, &shape));
    let mut instance = fixture.instance();
    let rows = [1, 2, 3];
    let requests: Vec<_> = rows
        .iter()
        .map(|&rows| {
            fixture.request(&[("x", &[rows as i64, columns as i64], &data(datatype, rows, columns))])
        })
        .collect();
    let responses = fixture.run(&mut *instance, &requests).unwrap();
    for (rows, response) in rows.into_iter().zip(&responses) {
        let expected = data(datatype, rows, columns);
        // BYTES of a later request count on; only sizes repeat for those.
        let [output] = &response.outputs[..] else { panic!("{response:?}") };
        assert_eq!(output.shape[..], [rows as i64, columns as i64]);
        assert_eq!((output.datatype, output.data.len()), (datatype, expected.len()));
    }
    let joined: Vec<u8> = responses.iter().flat_map(|r| r.outputs[0].data.to_vec()).collect();
    let sent: Vec<u8> = rows.iter().flat_map(|&rows| data(datatype, rows, columns)).collect();
    assert_eq!(joined, sent, "{datatype} {dims:?}");
    let alone = fixture.run_one(
        &mut *instance,
        fixture.request(&[("x", &[2, columns as i64], &data(datatype, 2, columns))]),
    );
    assert_eq!(parts(&alone), [("y", &[2, columns as i64][..], &data(datatype, 2, columns)[..])]);
}

#[test]
fn every_datatype_fixed_size() {
    DataType::ALL.into_iter().for_each(|datatype| check(datatype, &[3], 3));
}

#[test]
fn every_datatype_open_size() {
    DataType::ALL.into_iter().for_each(|datatype| check(datatype, &[-1], 3));
}

#[test]
fn every_datatype_large() {
    for datatype in DataType::ALL {
        check(datatype, &[-1], 5000);
        check(datatype, &[5000], 5000);
    }
}

#[test]
fn every_datatype_without_elements() {
    DataType::ALL.into_iter().for_each(|datatype| check(datatype, &[-1], 0));
}

#[test]
fn no_elements_without_a_batch() {
    for datatype in DataType::ALL {
        let fixture = Fixture::new(unary_config(0, datatype, &[-1]), &unary("Identity", datatype, &[-1]));
        let outputs = fixture.run_one(&mut *fixture.instance(), fixture.request(&[("x", &[0], &[])]));
        assert_eq!(parts(&outputs), [("y", &[0][..], &[][..])], "{datatype}");
    }
}

#[test]
fn numbers_are_computed() {
    // Half of 1.0, in each float type: 0x3c00, 0x3f80, 1f32, 1f64.
    for (datatype, one) in [
        (DataType::Fp16, 0x3c00_u16.to_le_bytes().to_vec()),
        (DataType::Fp32, 1_f32.to_le_bytes().to_vec()),
        (DataType::Fp64, 1_f64.to_le_bytes().to_vec()),
        (DataType::Int64, 1_i64.to_le_bytes().to_vec()),
        (DataType::Int32, 1_i32.to_le_bytes().to_vec()),
        (DataType::Int8, 1_i8.to_le_bytes().to_vec()),
    ] {
        let fixture = Fixture::new(unary_config(8, datatype, &[1]), &unary("Neg", datatype, &[-1, 1]));
        let outputs = fixture.run_one(&mut *fixture.instance(), fixture.request(&[("x", &[1, 1], &one)]));
        let expected: Vec<u8> = match datatype {
            DataType::Int8 | DataType::Int32 | DataType::Int64 => vec![0xff; one.len()],
            _ => one[..one.len() - 1].iter().copied().chain([one[one.len() - 1] | 0x80]).collect(),
        };
        assert_eq!(parts(&outputs), [("y", &[1, 1][..], &expected[..])], "{datatype}");
    }
}
