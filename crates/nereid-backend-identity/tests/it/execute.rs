//! What goes in comes out: alone and in batches, of every type, empty, reshaped, left out.

use bytes::Bytes;
use nereid_core::backend::{AutoComplete, AutoCompleteRequest, Backend};
use nereid_core::batch::Batch;
use nereid_core::{DataType, Parameter};

use crate::fixture::{config, instance, parts, request, run};

/// `count` elements of `datatype` that differ.
fn data(datatype: DataType, count: usize) -> Bytes {
    let element = |n: usize| -> Vec<u8> {
        match datatype.size_bytes() {
            // Lengths 0, 1, 2, …, with a NUL and bytes that are no UTF-8.
            None => (n as u32).to_le_bytes().into_iter().chain([b"\xff\0ab"[n % 4]].repeat(n)).collect(),
            Some(_) if datatype == DataType::Bool => vec![(n % 2) as u8],
            Some(size) => (0..size).map(|byte| (n * 31 + byte) as u8).collect(),
        }
    };
    (0..count).flat_map(element).collect()
}

#[test]
fn every_type_alone_and_in_a_batch() {
    for datatype in DataType::ALL {
        for max_batch_size in [0, 8] {
            let config = config(max_batch_size, &[(datatype, &[-1, 2])]);
            let mut instance = instance(&config);
            let row: &[&[i64]] = if max_batch_size > 0 { &[&[1, 3, 2], &[2, 3, 2]] } else { &[&[3, 2]] };
            let requests: Vec<_> = row
                .iter()
                .map(|shape| {
                    let count = shape.iter().product::<i64>() as usize;
                    request(&config, &[("INPUT0", shape, data(datatype, count))], &[])
                })
                .collect();
            let responses = run(&mut *instance, &config, &requests).unwrap();
            for (response, request) in responses.iter().zip(&requests) {
                let input = &request.inputs()[0];
                assert_eq!(response.outputs[0].datatype, datatype);
                assert_eq!(parts(response), [("OUTPUT0", &input.shape[..], &input.data[..])], "{datatype}");
            }
        }
    }
}

#[test]
fn nothing_is_copied_and_requests_may_differ_in_shape() {
    let mut config = config(8, &[(DataType::Fp32, &[-1])]);
    config.inputs[0].allow_ragged_batch = true;
    let requests = [(2, 4), (1, 0), (3, 1)].map(|(rows, columns)| {
        let data = data(DataType::Fp32, (rows * columns) as usize);
        request(&config, &[("INPUT0", &[rows, columns], data)], &[])
    });
    let responses = run(&mut *instance(&config), &config, &requests).unwrap();
    for (response, request) in responses.iter().zip(&requests) {
        let input = &request.inputs()[0];
        assert_eq!(parts(response), [("OUTPUT0", &input.shape[..], &input.data[..])]);
        assert_eq!(response.outputs[0].data.as_ptr(), input.data.as_ptr());
    }
}

#[test]
fn requests_of_a_batch_get_what_each_wants() {
    let config = config(8, &[(DataType::Int8, &[1]), (DataType::Int8, &[1])]);
    let inputs: [(&str, &[i64], Bytes); 2] =
        [("INPUT0", &[1, 1], Bytes::from_static(b"a")), ("INPUT1", &[1, 1], Bytes::from_static(b"b"))];
    let requests = [&["OUTPUT1"][..], &["OUTPUT0"], &[]].map(|outputs| request(&config, &inputs, outputs));
    let responses = run(&mut *instance(&config), &config, &requests).unwrap();
    let (a, b): ((&str, &[i64], &[u8]), _) =
        (("OUTPUT0", &[1, 1], b"a"), ("OUTPUT1", &[1, 1][..], &b"b"[..]));
    assert_eq!(responses.iter().map(parts).collect::<Vec<_>>(), [vec![b], vec![a], vec![a, b]]);
}

#[test]
fn empty_tensors() {
    for (datatype, shape) in [(DataType::Fp32, [1, 0]), (DataType::Bytes, [4, 0])] {
        let config = config(8, &[(datatype, &[-1])]);
        let requests =
            [0, 1].map(|_| request(&config, &[("INPUT0", &[shape[0], shape[1]], Bytes::new())], &[]));
        for requests in [&requests[..1], &requests[..]] {
            for response in run(&mut *instance(&config), &config, requests).unwrap() {
                assert_eq!(parts(&response), [("OUTPUT0", &shape[..], &[][..])]);
            }
        }
    }
}

#[test]
fn several_inputs_and_only_the_outputs_that_are_wanted() {
    let config = config(0, &[(DataType::Int8, &[1]), (DataType::Int8, &[2]), (DataType::Int8, &[-1])]);
    let inputs: [(&str, &[i64], Bytes); 3] = [
        ("INPUT2", &[3], Bytes::from_static(b"ghi")),
        ("INPUT0", &[1], Bytes::from_static(b"a")),
        ("INPUT1", &[2], Bytes::from_static(b"cd")),
    ];
    let mut instance = instance(&config);
    let mut check = |outputs: &[&str], expected: &[(&str, &[i64], &[u8])]| {
        let responses = run(&mut *instance, &config, &[request(&config, &inputs, outputs)]).unwrap();
        assert_eq!(parts(&responses[0]), expected);
    };
    check(&[], &[("OUTPUT0", &[1], b"a"), ("OUTPUT1", &[2], b"cd"), ("OUTPUT2", &[3], b"ghi")]);
    check(&["OUTPUT2", "OUTPUT0"], &[("OUTPUT0", &[1], b"a"), ("OUTPUT2", &[3], b"ghi")]);
}

#[test]
fn shapes_go_in_and_out_through_their_reshapes() {
    let mut config = config(8, &[(DataType::Int8, &[4, -1])]);
    config.inputs[0].reshape = Some(vec![2, 2, -1]);
    config.outputs[0].reshape = Some(vec![2, 2, -1]);
    config.outputs[0].dims = vec![1, -1, 4];
    let requests = [1, 2].map(|rows| {
        request(&config, &[("INPUT0", &[rows, 4, 3], data(DataType::Int8, 12 * rows as usize))], &[])
    });
    let responses = run(&mut *instance(&config), &config, &requests).unwrap();
    for (response, request) in responses.iter().zip(&requests) {
        let rows = i64::from(request.batch_size());
        assert_eq!(request.inputs()[0].shape[..], [rows, 2, 2, 3]);
        assert_eq!(parts(response), [("OUTPUT0", &[rows, 1, 3, 4][..], &request.inputs()[0].data[..])]);
    }
}

#[test]
fn an_optional_input_that_is_left_out_comes_back_as_zeros() {
    for (datatype, zeros) in [(DataType::Int16, 12), (DataType::Bytes, 24)] {
        let mut config = config(8, &[(DataType::Int8, &[1]), (datatype, &[3, -1])]);
        config.inputs[1].optional = true;
        let given = request(&config, &[("INPUT0", &[2, 1], Bytes::from_static(b"ab"))], &[]);
        let responses = run(&mut *instance(&config), &config, &[given]).unwrap();
        let expected: [(&str, &[i64], &[u8]); 2] =
            [("OUTPUT0", &[2, 1], b"ab"), ("OUTPUT1", &[2, 3, 1], &vec![0; zeros])];
        assert_eq!(parts(&responses[0]), expected);
    }
}

#[test]
fn responses_carry_parameters() {
    let config = config(0, &[(DataType::Int8, &[1])]);
    let request = request(&config, &[("INPUT0", &[1], Bytes::from_static(b"a"))], &[]);
    let execution = instance(&config).execute(&Batch::new(&config, &[&request])).unwrap();
    let expected = [
        ("param0", Parameter::Text("an example string parameter".into())),
        ("param1", Parameter::Int(42)),
        ("param2", Parameter::Bool(false)),
        ("param3", Parameter::Double(123.123)),
    ];
    assert_eq!(execution.parameters, expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn configs_are_not_completed() {
    let request = AutoCompleteRequest {
        model: "m",
        model_dir: std::path::Path::new("/nonexistent"),
        op_libraries: &[],
        version_dir: std::path::Path::new("/nonexistent"),
        cc_model_filenames: Default::default(),
        model_file: std::path::Path::new("/nonexistent"),
        max_batch_size: 0,
        default_max_batch_size: 4,
        inputs: vec![],
        batch_inputs: 0,
        outputs: vec![],
        has_scheduler: false,
        groups: vec![],
    };
    assert_eq!(
        nereid_backend_identity::Identity::default().auto_complete(&request),
        Ok(AutoComplete::default())
    );
}
