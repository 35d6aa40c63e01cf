//! Request parameters and the id.

use super::super::{CorrelationId, Encoding, ErrorKind, Parameter};
use super::{internal, invalid, parse, refused};

fn json(parameters: &str) -> String {
    format!(r#"{{"inputs":[],"parameters":{parameters}}}"#)
}

#[test]
fn the_known_ones() {
    let request = parse(&json(
        r#"{"sequence_id":42,"sequence_start":true,"sequence_end":false,"priority":2,"timeout":1000,
            "binary_data_output":true}"#,
    ))
    .unwrap();
    assert_eq!(request.sequence_id, CorrelationId::Number(42));
    assert_eq!((request.sequence_start, request.sequence_end), (true, false));
    assert_eq!((request.priority, request.timeout_us), (2, 1000));
    assert_eq!(request.default_encoding, Encoding::Binary);
    assert!(request.parameters.is_empty());
    let default = parse(&json("{}")).unwrap();
    assert_eq!(default.default_encoding, Encoding::Json);
    assert_eq!(default.sequence_id, CorrelationId::Number(0));
    assert_eq!(
        parse(&json(r#"{"sequence_id":"abc"}"#)).unwrap().sequence_id,
        CorrelationId::Text("abc".into())
    );
}

#[test]
fn their_types() {
    let no_uint = "attempt to access JSON non-unsigned-integer as unsigned-integer";
    let no_bool = "attempt to access JSON non-boolean as boolean";
    for (name, value, text) in [
        ("sequence_id", "-1", "attempt to access JSON non-string as string"),
        ("sequence_id", "true", "attempt to access JSON non-string as string"),
        ("sequence_start", "\"true\"", no_bool),
        ("sequence_end", "1", no_bool),
        ("priority", "-1", no_uint),
        ("priority", "\"1\"", no_uint),
        ("timeout", "1.5", no_uint),
        ("binary_data_output", "0", no_bool),
    ] {
        internal(
            &json(&format!(r#"{{"x":1,"{name}":{value}}}"#)),
            &format!("Unable to parse '{name}': {text}"),
        );
    }
    for value in ["[]", "1", "null", "\"x\""] {
        internal(&json(value), "failed to get request params.: attempt to get members for non-object");
    }
}

#[test]
fn custom_ones_keep_their_type() {
    let request =
        parse(&json(r#"{"i":-3,"b":true,"s":"t\u0000u","d":1.5,"big":18446744073709551615,"i":4,"n":NaN}"#))
            .unwrap();
    let (nan, others) = request.parameters.split_last().unwrap();
    assert_eq!(
        others,
        [
            ("i".to_owned(), Parameter::Int(-3)),
            ("b".to_owned(), Parameter::Bool(true)),
            ("s".to_owned(), Parameter::Text("t\0u".to_owned())),
            ("d".to_owned(), Parameter::Double(1.5)),
            ("big".to_owned(), Parameter::Double(18446744073709551615.0)),
        ]
    );
    assert!(matches!(nan.1, Parameter::Double(value) if value.is_nan()));
    for value in ["null", "[]", r#"{"a":1}"#] {
        invalid(
            &json(&format!(r#"{{"o":{value}}}"#)),
            "parameter 'o' has invalid type. It should be either 'int', 'bool', or 'string'.",
        );
    }
}

#[test]
fn of_equal_names_the_first_counts() {
    let request = parse(&json(
        r#"{"timeout":1,"timeout":2,"timeout":"x","\u0061":3,"a":[],"sequence_id":"s","sequence_id":7,
            "binary_data_output":false,"binary_data_output":true}"#,
    ))
    .unwrap();
    assert_eq!((request.timeout_us, request.default_encoding), (1, Encoding::Json));
    assert_eq!(request.sequence_id, CorrelationId::Text("s".into()));
    assert_eq!(request.parameters, [("a".to_owned(), Parameter::Int(3))]);
}

#[test]
fn reserved_names_and_long_sequence_ids() {
    invalid(
        &json(r#"{"triton_x":1}"#),
        "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified.",
    );
    let id = |length: usize| json(&format!(r#"{{"sequence_id":"{}"}}"#, "x".repeat(length)));
    assert!(parse(&id(128)).is_ok());
    refused(
        parse(&id(129)),
        ErrorKind::Unsupported,
        "string correlation ID cannot be longer than 128 characters",
    );
}

#[test]
fn ids() {
    assert_eq!(parse(r#"{"inputs":[],"id":"a\"\u00e9"}"#).unwrap().id, "a\"é");
    assert_eq!(parse(r#"{"inputs":[]}"#).unwrap().id, "");
    internal(r#"{"inputs":[],"id":7}"#, "Unable to parse 'id': attempt to access JSON non-string as string");
}
