//! Inputs: their fields, binary data, JSON data of every type, shapes and limits.

use super::super::{Datatype, ErrorKind, InputData, SharedMemory, header_length, parse_request};
use super::{MAX, input, internal, invalid, parse, parse_binary, refused};

const ONE_OF: &str = "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', \
                      'shared_memory_region' in 'parameters'. But";

#[track_caller]
fn data(members: &str) -> Vec<u8> {
    match parse(&input(&format!(r#""name":"x",{members}"#))).unwrap().inputs.remove(0).data {
        InputData::Bytes(bytes) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_and_mistyped_fields() {
    let full = r#""name":"x","datatype":"FP32","shape":[1],"data":[1]"#;
    assert!(parse(&input(full)).is_ok());
    let missing = |name: &str| {
        format!("Unable to parse '{name}': attempt to access non-existing object member '{name}'")
    };
    let no_string =
        |name: &str| format!("Unable to parse '{name}': attempt to access JSON non-string as string");
    let no_uint = "Unable to parse 'shape': attempt to access JSON non-unsigned-integer as unsigned-integer";
    let no_array = "Unable to parse 'shape': attempt to access JSON non-array as array";
    for (from, to, message) in [
        (r#""name":"x","#, "", missing("name")),
        (r#""name":"x""#, r#""name":1"#, no_string("name")),
        (r#""datatype":"FP32","#, "", missing("datatype")),
        (r#""datatype":"FP32""#, r#""datatype":3"#, no_string("datatype")),
        (r#""shape":[1],"#, "", missing("shape")),
        ("[1],", "784,", no_array.to_owned()),
        ("[1],", r#"["1"],"#, no_uint.to_owned()),
        ("[1],", "[1,-1],", no_uint.to_owned()),
        ("[1],", "[1.0],", no_uint.to_owned()),
        ("[1],", "[[1]],", no_uint.to_owned()),
        ("[1],", "[18446744073709551616],", no_uint.to_owned()),
        (
            r#""data":[1]"#,
            r#""data":1"#,
            "Unable to parse 'data': attempt to access JSON non-array as array".into(),
        ),
        (
            r#""data":[1]"#,
            r#""data":null"#,
            "Unable to parse 'data': attempt to access JSON non-array as array".into(),
        ),
    ] {
        internal(&input(&full.replace(from, to)), &message);
    }
}

#[test]
fn exactly_one_source_of_data() {
    let none = format!("{ONE_OF} no field is set");
    for json in
        [r#"{"inputs":[1]}"#, r#"{"inputs":[[]]}"#, r#"{"inputs":[{}]}"#, r#"{"inputs":[{"name":"x"}]}"#]
    {
        invalid(json, &none);
    }
    invalid(&input(r#""parameters":[1],"name":5"#), &none);
    invalid(
        &input(r#""data":[],"parameters":{"binary_data_size":0}"#),
        &format!("{ONE_OF} set 'data' 'binary_data_size'"),
    );
    invalid(
        &input(r#""data":[],"parameters":{"binary_data_size":0,"shared_memory_region":"r"}"#),
        &format!("{ONE_OF} set 'data' 'binary_data_size' 'shared_memory_region'"),
    );
}

#[test]
fn binary_parts_follow_in_the_order_of_inputs() {
    let json = r#"{"inputs":[
        {"name":"a","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}},
        {"name":"b","datatype":"INT16","shape":[1],"data":[258]},
        {"name":"c","datatype":"UINT8","shape":[0],"parameters":{"binary_data_size":0}},
        {"name":"d","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":3}}]}"#;
    let request = parse_binary(json, b"12345").unwrap();
    let data: Vec<_> = request.inputs.iter().map(|input| input.data.clone()).collect();
    let expected = [&b"12"[..], &[2, 1], b"", b"345"].map(|bytes| InputData::Bytes(bytes.to_vec().into()));
    assert_eq!(data, expected);
    refused(
        parse_binary(json, b"1234"),
        ErrorKind::InvalidArg,
        "unexpected size for input 'd', expecting 1 additional bytes for model 'm'",
    );
    refused(
        parse_binary(json, b""),
        ErrorKind::InvalidArg,
        "unexpected size for input 'a', expecting 2 additional bytes for model 'm'",
    );
    refused(
        parse_binary(json, b"123456"),
        ErrorKind::InvalidArg,
        "unexpected additional input data for model 'm'",
    );
}

#[test]
fn binary_data_is_a_slice_of_the_body() {
    let json = input(r#""name":"x","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}"#);
    let body = bytes::Bytes::from(format!("{json}abcd"));
    let request = parse_request(&body, Some(json.len()), "m", json.len()).unwrap();
    let InputData::Bytes(data) = &request.inputs[0].data else { panic!() };
    assert_eq!(data.as_ptr(), body[json.len()..].as_ptr());
    let everything = parse_request(&body.slice(..json.len()), None, "m", MAX);
    refused(
        everything,
        ErrorKind::InvalidArg,
        "unexpected size for input 'x', expecting 4 additional bytes for model 'm'",
    );
}

#[test]
fn sizes_and_regions_have_types() {
    let with = |parameters: &str| {
        input(&format!(r#""name":"x","datatype":"FP32","shape":[1],"parameters":{{{parameters}}}"#))
    };
    let no_uint = "attempt to access JSON non-unsigned-integer as unsigned-integer";
    for value in ["\"3136\"", "-1", "1.0", "null", "[4]"] {
        internal(
            &with(&format!(r#""binary_data_size":{value}"#)),
            &format!("Unable to parse 'binary_data_size': {no_uint}"),
        );
    }
    invalid(
        &with(r#""binary_data_size":18446744073709551615"#),
        "unexpected size for input 'x', expecting 18446744073709551615 additional bytes for model 'm'",
    );
    internal(
        &with(r#""shared_memory_region":1"#),
        "Unable to parse 'shared_memory_region': attempt to access JSON non-string as string",
    );
    internal(
        &with(r#""shared_memory_region":"r","shared_memory_offset":-1"#),
        &format!("Unable to parse 'shared_memory_offset': {no_uint}"),
    );
    internal(
        &input(
            r#""name":"x","datatype":"FP32","shape":[1],"data":[1],"parameters":{"shared_memory_byte_size":"4"}"#,
        ),
        &format!("Unable to parse 'shared_memory_byte_size': {no_uint}"),
    );
    let request =
        parse(&with(r#""shared_memory_region":"r","shared_memory_byte_size":64,"shared_memory_offset":8"#));
    let expected = SharedMemory { region: "r".to_owned(), offset: 8, byte_size: 64 };
    assert_eq!(request.unwrap().inputs[0].data, InputData::SharedMemory(expected));
}

#[test]
fn every_type() {
    let of = |datatype: &str, elements: &str, count: usize| {
        data(&format!(r#""datatype":"{datatype}","shape":[{count}],"data":{elements}"#))
    };
    assert_eq!(of("BOOL", "[true,false]", 2), [1, 0]);
    assert_eq!(of("UINT8", "[0,255,256]", 3), [0, 255, 0]); // no range check, as in Triton
    assert_eq!(of("INT8", "[-128,127,128]", 3), [0x80, 0x7f, 0x80]);
    assert_eq!(of("UINT16", "[65535]", 1), [0xff, 0xff]);
    assert_eq!(of("INT16", "[-2]", 1), [0xfe, 0xff]);
    assert_eq!(of("UINT32", "[4294967296,4294967295]", 2), [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(of("INT32", "[2147483648]", 1), i32::MIN.to_le_bytes());
    assert_eq!(of("UINT64", "[18446744073709551615]", 1), u64::MAX.to_le_bytes());
    assert_eq!(of("INT64", "[-9223372036854775808]", 1), i64::MIN.to_le_bytes());
    assert_eq!(of("INT64", "[9223372036854775807]", 1), i64::MAX.to_le_bytes());
    assert_eq!(of("FP64", "[0.1]", 1), 0.1_f64.to_le_bytes());
    assert_eq!(of("FP64", "[-0,-0.0]", 2), [0.0_f64.to_le_bytes(), (-0.0_f64).to_le_bytes()].concat());
    assert_eq!(of("FP32", "[1]", 1), 1_f32.to_le_bytes());
    assert_eq!(
        of("FP32", "[1e39,-Infinity]", 2),
        [f32::INFINITY.to_le_bytes(), f32::NEG_INFINITY.to_le_bytes()].concat()
    );
    assert!(f32::from_le_bytes(of("FP32", "[NaN]", 1).try_into().unwrap()).is_nan());
    assert_eq!(
        of("BYTES", r#"["a\u0000b","","\ud83d\ude00"]"#, 3),
        b"\x03\0\0\0a\0b\0\0\0\0\x04\0\0\0\xf0\x9f\x98\x80"
    );
}

/// RapidJSON 1.1.0 takes a low surrogate alone and writes the three bytes that UTF-8 would have for it.
#[test]
fn strings_of_a_tensor_keep_what_is_no_text() {
    let members = r#""datatype":"BYTES","shape":[2],"data":["\udc00x","\ue000"]"#;
    assert_eq!(data(members), b"\x04\0\0\0\xed\xb0\x80x\x03\0\0\0\xee\x80\x80");
}

#[test]
fn floats_are_rounded_correctly() {
    let numbers = [
        "0.1",
        "0.3",
        "2.2250738585072014e-308",
        "5e-324",
        "1.7976931348623157e308",
        "123456789012345678",
        "12345678901234567890",
        "123456789012345678901234567890",
        "9007199254740993",
        "0.000123456789012345678901",
        "3.4028234663852886e38",
        "1.17549435e-38",
        "0.14580968022346497",
        "8.5e-45",
        "1e22",
        "1e23",
        "7e-23",
        "0.5e1",
        "9007199254740993.0",
        "6.0221407600000000000000000000000000001e23",
        "100000000000000000000",
        "0e5",
        "0.0e-9",
    ];
    let joined = numbers.join(" ,\n");
    let bytes = data(&format!(r#""datatype":"FP64","shape":[{}],"data":[{joined}]"#, numbers.len()));
    for (number, bytes) in numbers.iter().zip(bytes.chunks(8)) {
        let expected: f64 = number.parse().unwrap();
        assert_eq!(f64::from_le_bytes(bytes.try_into().unwrap()).to_bits(), expected.to_bits(), "{number}");
    }
}

#[test]
fn elements_of_the_wrong_type() {
    let cases = [
        ("BOOL", "2", "non-boolean as boolean"),
        ("UINT8", "-1", "non-unsigned-integer as unsigned-integer"),
        ("UINT64", "1.5", "non-unsigned-integer as unsigned-integer"),
        ("UINT32", "18446744073709551616", "non-unsigned-integer as unsigned-integer"),
        ("INT32", "1.0", "non-signed-integer as signed-integer"),
        ("INT32", "null", "non-signed-integer as signed-integer"),
        ("INT64", "9223372036854775808", "non-signed-integer as signed-integer"),
        ("INT8", "{\"a\":[1,{}]}", "non-signed-integer as signed-integer"),
        ("FP32", "\"1\"", "non-number as double"),
        ("FP64", "true", "non-number as double"),
        ("FP64", "{}", "non-number as double"),
    ];
    for (datatype, element, text) in cases {
        let message = format!("Unable to parse 'data': attempt to access JSON {text}");
        internal(
            &input(&format!(r#""name":"x","datatype":"{datatype}","shape":[1],"data":[{element}]"#)),
            &message,
        );
        internal(
            &input(&format!(r#""data":[[],[{element},1]],"name":"x","datatype":"{datatype}","shape":[1]"#)),
            &message,
        );
    }
    internal(
        &input(r#""name":"x","datatype":"BYTES","shape":[1],"data":["a",[5]]"#),
        "Unable to parse JSON bytes array: attempt to access JSON non-string as string",
    );
}

#[test]
fn halves_need_the_binary_format() {
    for datatype in ["FP16", "BF16"] {
        invalid(
            &input(&format!(r#""name":"x","datatype":"{datatype}","shape":[1],"data":["anything"]"#)),
            &format!(
                "receiving {datatype} data via JSON is not supported. Please use the binary data format for input x"
            ),
        );
    }
    invalid(&input(r#""name":"x","datatype":"FP8","shape":[1],"data":[1]"#), "invalid datatype for input x");
    let json = input(r#""name":"x","datatype":"FP8","shape":[1],"parameters":{"binary_data_size":0}"#);
    assert_eq!(parse(&json).unwrap().inputs[0].datatype, None, "for binary data the model's check decides");
}

#[test]
fn nesting_is_followed_and_not_compared_with_the_shape() {
    let expected: Vec<u8> = (1..=4).collect();
    for elements in
        ["[1,2,3,4]", "[[1,2],[3,4]]", "[[1,2,3],[4]]", "[[[[1]]],2,[],[[3,[4]]]]", "[ 1\n,2 , 3,\t4 ]"]
    {
        let members = format!(r#""datatype":"UINT8","shape":[2,2],"data":{elements}"#);
        assert_eq!(data(&members), expected, "{elements}");
        let late = format!(r#""data":{elements},"shape":[2,2],"datatype":"UINT8""#);
        assert_eq!(data(&late), expected, "{elements}");
    }
}

#[test]
fn counts() {
    let too_many = "Unable to parse 'data': Shape does not match true shape of 'data' field";
    let too_few = "Failed to parse 'data' field: shape does not match true shape";
    let json = |shape: &str, elements: &str| {
        input(&format!(r#""name":"x","datatype":"INT32","shape":{shape},"data":{elements}"#))
    };
    internal(&json("[3]", "[1,2]"), too_few);
    internal(&json("[3]", "[]"), too_few);
    internal(&json("[262144]", "[1]"), too_few);
    internal(&json("[3]", "[1,2,3,4]"), too_many);
    internal(&json("[2]", "[1,2,3,\"x\"]"), too_many);
}

#[test]
fn the_first_of_two_faults_counts() {
    let json =
        |count: usize| input(&format!(r#""name":"x","datatype":"INT32","shape":[{count}],"data":[1,2,"x"]"#));
    let mismatch = "Unable to parse 'data': Shape does not match true shape of 'data' field";
    internal(&json(2), mismatch);
    internal(&json(3), "Unable to parse 'data': attempt to access JSON non-signed-integer as signed-integer");
}

#[test]
fn no_elements() {
    for members in [
        r#""datatype":"FP32","shape":[0],"data":[]"#,
        r#""datatype":"FP32","shape":[],"data":[]"#,
        r#""datatype":"FP32","shape":[2,0],"data":"not even looked at""#,
        r#""datatype":"FP16","shape":[0],"data":[1]"#,
        r#""datatype":"BYTES","shape":[0],"data":[]"#,
    ] {
        assert_eq!(data(members), b"", "{members}");
    }
    for list in ["[]", "[[],[[]]]"] {
        internal(
            &input(&format!(r#""name":"x","datatype":"BYTES","shape":[3],"data":{list}"#)),
            "Failed to parse 'data' field: output buffer unavailable",
        );
    }
}

#[test]
fn a_name_given_twice_is_found_before_its_data() {
    let x = r#"{"name":"x","datatype":"FP32","shape":[1],"data":[1]}"#;
    let list = |inputs: &[&str]| format!(r#"{{"inputs":[{}]}}"#, inputs.join(","));
    let duplicate = "[request id: <id_unknown>] input 'x' already exists in request";
    for bad_data in ["[1,2]", "[\"a\"]", "7"] {
        let second = x.replace("[1]}", &format!("{bad_data}}}"));
        invalid(&list(&[x, &second]), duplicate);
        assert_eq!(parse(&list(&[&second, x])).unwrap_err().kind, ErrorKind::Internal, "in order");
    }
    let no_shape = x.replace(r#""shape":[1],"#, "");
    let message = "Unable to parse 'shape': attempt to access non-existing object member 'shape'";
    internal(&list(&[x, &no_shape]), message);
    let id_behind = format!(r#"{{"inputs":[{x},{x}],"id":"7"}}"#);
    invalid(&id_behind, "[request id: 7] input 'x' already exists in request");
    // Many inputs are told apart as well as few are.
    for count in [2, 15, 16, 17, 40] {
        let mut inputs: Vec<_> = (0..count).map(|i| x.replace(r#""x""#, &format!(r#""n{i}""#))).collect();
        assert_eq!(
            parse(&list(&inputs.iter().map(String::as_str).collect::<Vec<_>>())).unwrap().inputs.len(),
            count
        );
        for twice in [0, count / 2, count - 1] {
            inputs.push(inputs[twice].clone());
            let message = format!("[request id: <id_unknown>] input 'n{twice}' already exists in request");
            invalid(&list(&inputs.iter().map(String::as_str).collect::<Vec<_>>()), &message);
            inputs.pop();
        }
    }
}

#[test]
fn shapes_that_cannot_be() {
    let json = |shape: &str| input(&format!(r#""name":"x","datatype":"FP32","shape":{shape},"data":[1]"#));
    invalid(
        &json("[1,18446744073709551614]"),
        "invalid shape for input 'x': shape [1,-2] contains one or more invalid dimensions",
    );
    invalid(
        &json("[4294967296,4294967296]"),
        "invalid shape for input 'x': shape [4294967296,4294967296] causes total element count to exceed maximum \
         size of 9223372036854775807",
    );
    invalid(
        &json("[4611686018427387904]"),
        "byte size overflow for input 'x': element count (4611686018427387904) * data type size (4) exceeds maximum \
         allowed size (9223372036854775807)",
    );
    invalid(
        &json("[18446744073709551615]"),
        "JSON input 'x' has a byte_size (18446744073709551612 bytes) that exceeds the maximum allowed value of \
         1048576 bytes. Use --http-max-input-size to increase the limit.",
    );
    let json =
        json("[18446744073709551615]").replace(r#""data":[1]"#, r#""parameters":{"binary_data_size":0}"#);
    assert_eq!(parse(&json).unwrap().inputs[0].shape, [-1], "with binary data the model's check decides");
}

#[test]
fn decoded_tensors_have_a_limit() {
    let limited = |json: &str, max| parse_request(&json.to_owned().into(), None, "m", max);
    let text = |size: usize, max: usize| {
        format!(
            "JSON input 'x' has a byte_size ({size} bytes) that exceeds the maximum allowed value of {max} bytes. Use \
             --http-max-input-size to increase the limit."
        )
    };
    let elements = |count: usize| vec!["1"; count].join(",");
    let json = |shape: usize, count: usize| {
        input(&format!(r#""name":"x","datatype":"FP64","shape":[{shape}],"data":[{}]"#, elements(count)))
    };
    assert!(limited(&json(100, 100), 800).is_ok());
    refused(limited(&json(100, 100), 799), ErrorKind::InvalidArg, &text(800, 799));
    refused(limited(&json(1 << 40, 1), 799), ErrorKind::InvalidArg, &text(8 << 40, 799));
    let mismatch = "Unable to parse 'data': Shape does not match true shape of 'data' field";
    refused(limited(&json(99, 150), 799), ErrorKind::Internal, mismatch);
    let strings = |count: usize| {
        let elements = vec![r#""""#; count].join(",");
        input(&format!(r#""name":"x","datatype":"BYTES","shape":[{count}],"data":[{elements}]"#))
    };
    // An empty string takes three bytes of JSON and four of the tensor.
    let (fits, exceeds) = (strings(50), strings(500));
    assert!(limited(&fits, fits.len()).is_ok());
    refused(limited(&exceeds, exceeds.len()), ErrorKind::InvalidArg, &text(2000, exceeds.len()));
    let faulty = exceeds.replace(r#"""]"#, "1]");
    let no_string = "Unable to parse JSON bytes array: attempt to access JSON non-string as string";
    refused(limited(&faulty, faulty.len()), ErrorKind::Internal, no_string);
}

#[test]
fn of_equal_names_the_first_counts() {
    let json = input(
        r#""name":"x","name":1,"datatype":"UINT8","datatype":2,"shape":[1],"shape":3,"data":[7],"data":[8,9],
           "parameters":{"binary_data_size":0},"parameters":{}"#,
    );
    invalid(&json, &format!("{ONE_OF} set 'data' 'binary_data_size'"));
    let request = parse(&json.replace("binary_data_size", "other")).unwrap();
    assert_eq!(request.inputs[0].data, InputData::Bytes(vec![7].into()));
    assert_eq!(request.inputs[0].datatype, Some(Datatype::Uint8));
}

#[test]
fn header_lengths() {
    let range = "inference header size should be in range (0, 3306)";
    let parse = "Unable to parse Inference-Header-Content-Length";
    let int32 =
        "Unable to parse Inference-Header-Content-Length, value is out of range [ -2147483648, 2147483647 ]";
    for (value, expected) in [
        ("170", Ok(170)),
        ("0", Ok(0)),
        ("12abc", Ok(12)),
        (" +7", Ok(7)),
        ("-0", Ok(0)),
        ("3306", Ok(3306)),
        ("3307", Err(range)),
        ("-5", Err(range)),
        ("2147483647", Err(range)),
        ("-2147483648", Err(range)),
        ("2147483648", Err(int32)),
        ("-2147483649", Err(int32)),
        ("99999999999999999999", Err(int32)),
        ("-99999999999999999999", Err(int32)),
        ("abc", Err(parse)),
        ("", Err(parse)),
        (" - 5", Err(parse)),
        ("+-5", Err(parse)),
    ] {
        let expected = expected.map_err(|text| (ErrorKind::InvalidArg, format!("{text}, got: {value}")));
        assert_eq!(header_length(value, 3306).map_err(|e| (e.kind, e.message)), expected);
    }
}
