//! The bodies of `generate`, both ways.

use bytes::Bytes;

use super::super::{
    Datatype, Encoding, Error, ErrorKind, Member, OutputView, Parameter, Response, parse_members,
    write_members,
};

const MAX: usize = 1 << 20;

fn member(json: &str) -> Member<'_> {
    parse_members(json.as_bytes(), MAX).unwrap()[0]
}

/// The outer count, the size and the data of `value` as a tensor.
fn tensor(datatype: Datatype, value: &str) -> Result<(usize, u64, Vec<u8>), Error> {
    let json = format!(r#"{{"x":{value}}}"#);
    let tensor = member(&json).tensor(datatype, MAX)?;
    Ok((tensor.count, tensor.byte_size, tensor.read("x")?.to_vec()))
}

#[test]
fn members_in_order_with_their_kinds() {
    let json = br#" {"a":1,"b":[2,[3]],"a\u00e9":{"c":"d","c":null},"":true,"a":1.5} "#;
    let members = parse_members(json, MAX).unwrap();
    assert_eq!(members.iter().map(Member::name).collect::<Vec<_>>(), ["a", "b", "aé", "", "a"]);
    let parameter = |i: usize| members[i].parameter("p");
    assert_eq!(parameter(0), Ok(Parameter::Int(1)));
    assert_eq!(parameter(3), Ok(Parameter::Bool(true)));
    assert_eq!(parameter(4), Ok(Parameter::Double(1.5)));
    let no_parameter = "parameter 'p' has invalid type. It should be either 'int', 'bool', or 'string'.";
    for i in [1, 2] {
        assert_eq!(parameter(i).unwrap_err().message, no_parameter);
    }
    let nested = members[2].members().unwrap();
    assert_eq!(nested[0].parameter("c"), Ok(Parameter::Text("d".into())));
    assert_eq!(nested[1].parameter("p").unwrap_err().message, no_parameter);
    assert_eq!(members[0].members().unwrap_err().message, "attempt to access JSON non-object as object");
    assert_eq!(
        members[0].as_text("id").unwrap_err().message,
        "Unable to parse 'id': attempt to access JSON non-string as string"
    );
}

#[test]
fn tensors() {
    let ints = |values: &[i32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    for (value, count, data) in [
        ("7", 1, &[7][..]),
        ("[7]", 1, &[7]),
        (" [ 1 , 2,3 ] ", 3, &[1, 2, 3]),
        ("[[1],[[2]]]", 2, &[1, 2]),
        ("[]", 0, &[]),
        ("4294967297", 1, &[1]), // Triton casts without looking at the range
    ] {
        let expected = (count, 4 * count as u64, ints(data));
        assert_eq!(tensor(Datatype::Int32, value), Ok(expected), "{value}");
    }
    assert_eq!(tensor(Datatype::Bool, "true"), Ok((1, 1, vec![1])));
    assert_eq!(tensor(Datatype::Fp64, "[NaN]").unwrap().2, f64::NAN.to_le_bytes());
    assert_eq!(tensor(Datatype::Bytes, r#""a\u0000b""#), Ok((1, 7, b"\x03\0\0\0a\0b".to_vec())));
    assert_eq!(
        tensor(Datatype::Bytes, r#"[["a"],"",[["b"]]]"#),
        Ok((3, 14, b"\x01\0\0\0a\0\0\0\0\x01\0\0\0b".to_vec()))
    );
    assert_eq!(tensor(Datatype::Bytes, "[[],[]]"), Ok((2, 0, Vec::new())));
}

#[test]
fn what_is_no_tensor() {
    let deep = format!("{}1{}", "[".repeat(250_000), "]".repeat(250_000));
    let limit = "JSON nesting depth exceeds maximum allowed limit (100)";
    let shape = "Unable to parse 'data': Shape does not match true shape of 'data' field";
    let few = "Failed to parse 'data' field: shape does not match true shape";
    let (internal, invalid) = (ErrorKind::Internal, ErrorKind::InvalidArg);
    for (datatype, value, kind, message) in [
        (
            Datatype::Int32,
            "\"1\"",
            internal,
            "Unable to parse 'data': attempt to access JSON non-signed-integer as signed-integer",
        ),
        (
            Datatype::Int32,
            "1.5",
            internal,
            "Unable to parse 'data': attempt to access JSON non-signed-integer as signed-integer",
        ),
        (
            Datatype::Uint8,
            "-1",
            internal,
            "Unable to parse 'data': attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
        (
            Datatype::Fp32,
            "null",
            internal,
            "Unable to parse 'data': attempt to access JSON non-number as double",
        ),
        (
            Datatype::Fp32,
            "{\"a\":1}",
            internal,
            "Unable to parse 'data': attempt to access JSON non-number as double",
        ),
        (
            Datatype::Bool,
            "[true,0]",
            internal,
            "Unable to parse 'data': attempt to access JSON non-boolean as boolean",
        ),
        (
            Datatype::Bytes,
            "1",
            internal,
            "Unable to parse JSON bytes array: attempt to access JSON non-string as string",
        ),
        (
            Datatype::Bytes,
            "[\"a\",{}]",
            internal,
            "Unable to parse JSON bytes array: attempt to access JSON non-string as string",
        ),
        (Datatype::Int32, "[[1,2]]", internal, shape),
        (Datatype::Int32, "[[],[1]]", internal, few),
        (
            Datatype::Fp16,
            "1",
            invalid,
            "receiving FP16 data via JSON is not supported. Please use the binary data format for input x",
        ),
        (
            Datatype::Bf16,
            "[1]",
            invalid,
            "receiving BF16 data via JSON is not supported. Please use the binary data format for input x",
        ),
        (Datatype::Fp32, &deep, invalid, &format!("Unable to parse 'data': {limit}")),
        (Datatype::Bytes, &deep, invalid, limit),
    ] {
        let error = tensor(datatype, value).unwrap_err();
        assert_eq!((error.message.as_str(), error.kind), (message, kind));
    }
}

#[test]
fn texts_that_are_no_object() {
    let many = format!("{{{}\"z\":0}}", "\"a\":0,".repeat(1 << 20));
    let broken = "failed to parse the request JSON buffer: ";
    for (json, message) in [
        ("", format!("{broken}The document is empty. at 0")),
        ("[]", "attempt to get members for non-object".to_owned()),
        ("\"a\"", "attempt to get members for non-object".to_owned()),
        ("{\"a\":1", format!("{broken}Missing a comma or '}}' after an object member. at 6")),
        ("{\"a\":[1,]}", format!("{broken}Invalid value. at 8")),
        ("{} {}", format!("{broken}The document root must not be followed by other values. at 3")),
        (&many, "a JSON object of more than 1048576 members is not read".to_owned()),
    ] {
        assert_eq!(parse_members(json.as_bytes(), 1 << 24).unwrap_err().message, message);
    }
    let long = "request JSON size of 9 bytes exceeds the maximum allowed input size of 8 bytes. Use --http-max-input-size to increase the limit.";
    assert_eq!(parse_members(b"{\"a\": 12}", 8).unwrap_err().message, long);
}

#[test]
fn memory_follows_the_text_and_the_limit() {
    let empty = format!(r#"{{"x":[{}""]}}"#, "\"\",".repeat(200_000));
    let members = parse_members(empty.as_bytes(), 1 << 24).unwrap();
    let strings = members[0].tensor(Datatype::Bytes, 1 << 24).unwrap();
    assert_eq!((strings.count, strings.byte_size), (200_001, 800_004));
    let bounded = members[0].tensor(Datatype::Bytes, 1000).unwrap();
    assert_eq!(bounded.byte_size, 800_004, "counted, but not kept");
    assert!(bounded.read("x").unwrap().is_empty());
    let zeros = format!(r#"{{"x":[{}0]}}"#, "0,".repeat(400_000));
    let members = parse_members(zeros.as_bytes(), 1 << 24).unwrap();
    let doubles = members[0].tensor(Datatype::Fp64, 1000).unwrap();
    assert_eq!((doubles.count, doubles.byte_size), (400_001, 3_200_008));
    assert!(doubles.read("x").is_err());
}

#[test]
fn answers() {
    let tensor = |name, datatype, shape, data| OutputView {
        name,
        datatype,
        shape,
        data,
        encoding: Some(Encoding::Json),
    };
    let (one, three, strings) = (
        Bytes::from_static(&[7, 0, 0, 0]),
        Bytes::from_static(&[1, 0, 1]),
        Bytes::from_static(b"\x02\0\0\0h\"\x01\0\0\0\xff"),
    );
    let empty = Bytes::new();
    let outputs = [
        tensor("z", Datatype::Int32, &[1, 1], &one),
        tensor("OUT", Datatype::Bool, &[3], &three),
        tensor("text", Datatype::Bytes, &[2, 1], &strings),
        tensor("none", Datatype::Fp32, &[0, 4], &empty),
        tensor("model_name", Datatype::Int32, &[1], &one),
    ];
    let parameters = [("p".to_owned(), Parameter::Double(0.5)), ("z".to_owned(), Parameter::Bool(false))];
    let mut response =
        Response { id: "42", model_name: "m", model_version: 3, parameters: &parameters, outputs: &outputs };
    let expected = b"{\"OUT\":[true,false,true],\"id\":\"42\",\"model_name\":\"m\",\"model_version\":\"3\",\"none\":[],\"p\":0.5,\
        \"text\":[\"h\\\"\",\"\xff\"],\"z\":false}";
    assert_eq!(write_members(&response).unwrap()[..], expected[..]);
    response = Response { id: "", parameters: &[], outputs: &outputs[..1], ..response };
    assert_eq!(write_members(&response).unwrap(), r#"{"model_name":"m","model_version":"3","z":7}"#);
    let half = [tensor("h", Datatype::Fp16, &[1], &one)];
    let refused = write_members(&Response { outputs: &half, ..response }).unwrap_err();
    assert_eq!(
        refused.message,
        "sending FP16 data via JSON is not supported. Please use the binary data format for output"
    );
}
