//! Texts and offsets of broken JSON; compared with RapidJSON itself when they were written.

use bytes::Bytes;

use super::super::{ErrorKind, parse_request};
use super::{MAX, internal, parse, parse_binary};

#[track_caller]
fn broken(json: &str, message: &str) {
    internal(json, &format!("failed to parse the request JSON buffer: {message}"));
}

#[test]
fn recorded() {
    broken("{", "Missing a name for object member. at 1");
    broken(r#"{"inputs":[{"name":"input","#, "Missing a name for object member. at 27");
    broken(r#"{"inputs":[{"shape":tru"#, "Invalid value. at 23");
    broken(r#"{"inputs":[]}}"#, "The document root must not be followed by other values. at 13");
    broken(r#"{"inputs":[0.5, 0."#, "Miss fraction part in number. at 18");
    broken(r#"{"inputs":[0.5 "#, "Missing a comma or ']' after an array element. at 15");
    broken(
        r#"{"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"FP32","data":[1e400]}]}"#,
        "Number too big to be stored in double. at 68",
    );
}

#[test]
fn structure() {
    for (json, message) in [
        ("", "The document is empty. at 0"),
        (" \t\r\n", "The document is empty. at 4"),
        ("\0{}", "The document is empty. at 0"),
        ("]", "The document is empty. at 0"),
        (",", "The document is empty. at 0"),
        ("x", "Invalid value. at 0"),
        ("nul", "Invalid value. at 3"),
        ("truE", "Invalid value. at 3"),
        ("{,", "Missing a name for object member. at 1"),
        (r#"{"a" 1}"#, "Missing a colon after a name of object member. at 5"),
        (r#"{"a":}"#, "Invalid value. at 5"),
        (r#"{"a":1 "b":2}"#, "Missing a comma or '}' after an object member. at 7"),
        (r#"{"a":1,}"#, "Missing a name for object member. at 7"),
        (r#"{"a":[1,]}"#, "Invalid value. at 8"),
        (r#"{"a":[,1]}"#, "Invalid value. at 6"),
        (r#"{"a":[1}"#, "Missing a comma or ']' after an array element. at 7"),
        (r#"{"a":[1"#, "Missing a comma or ']' after an array element. at 7"),
        (r#"{"a":{"b":[{]}"#, "Missing a name for object member. at 12"),
        ("{} {}", "The document root must not be followed by other values. at 3"),
        (r#"{"a":'x'}"#, "Invalid value. at 5"),
        ("{\"a\":1 /* no */}", "Missing a comma or '}' after an object member. at 7"),
    ] {
        broken(json, message);
    }
}

#[test]
fn numbers() {
    for (number, message) in [
        ("-", "Invalid value. at 6"),
        ("+1", "Invalid value. at 5"),
        (".5", "Invalid value. at 5"),
        ("0.00000000000000000000.0", "Missing a comma or '}' after an object member. at 27"),
        ("01", "Missing a comma or '}' after an object member. at 6"),
        ("1.", "Miss fraction part in number. at 7"),
        ("1.e5", "Miss fraction part in number. at 7"),
        ("1e", "Miss exponent in number. at 7"),
        ("1e+", "Miss exponent in number. at 8"),
        ("1E-x", "Miss exponent in number. at 8"),
        ("1e309", "Number too big to be stored in double. at 5"),
        ("-1e309", "Number too big to be stored in double. at 5"),
        ("0e400", "Number too big to be stored in double. at 5"),
        ("1e99999999999999999999", "Number too big to be stored in double. at 5"),
        ("Na", "Invalid value. at 7"),
        ("nan", "Invalid value. at 6"),
        ("Infinit", "Invalid value. at 12"),
        ("-I", "Invalid value. at 7"),
        ("0x10", "Missing a comma or '}' after an object member. at 6"),
    ] {
        broken(&format!(r#"{{"a":{number}}}"#), message);
    }
    broken(&format!(r#"{{"a":{}}}"#, "9".repeat(400)), "Number too big to be stored in double. at 5");
}

#[test]
fn strings() {
    for (string, message) in [
        (r"\x", "Invalid escape character in string. at 6"),
        (r"ab\u12g4", "Incorrect hex digit after \\u escape in string. at 8"),
        (r"\u12", "Incorrect hex digit after \\u escape in string. at 6"),
        (r"\ud800", "The surrogate pair in string is invalid. at 6"),
        (r"\ud800\n", "The surrogate pair in string is invalid. at 6"),
        (r"\ud800\ud800", "The surrogate pair in string is invalid. at 6"),
        (r"\ud800\u12", "Incorrect hex digit after \\u escape in string. at 6"),
        ("0123456789\n", "Invalid escape character in string. at 16"),
        ("\t", "Invalid escape character in string. at 6"),
        ("abc\0", "Missing a closing quotation mark in string. at 9"),
    ] {
        broken(&format!(r#"{{"a":"{string}"}}"#), message);
    }
    broken(r#"{"a":"0123456789"#, "Missing a closing quotation mark in string. at 16");
    broken(r#"{"a":"\"#, "Invalid escape character in string. at 6");
}

#[test]
fn what_rapidjson_takes() {
    for json in [
        "\u{feff}{\"inputs\":[]}",
        "\n\r\t {\"inputs\":[]}\n",
        "{\"inputs\":[]}\0 and whatever follows",
        r#"{"inputs":[],"x":[NaN,-NaN,Infinity,-Infinity,Inf,-Inf,-0,-0.0,1E+2,1e-999999999999]}"#,
        r#"{"inputs":[],"x":"\u00e9\uD83D\uDE00\"\\\/\b\f\n\r\t"}"#,
        r#"{"\u0069nputs":[]}"#,
    ] {
        assert!(parse(json).is_ok(), "{json}");
    }
    let raw = Bytes::from_static(b"{\"inputs\":[],\"id\":\"\xff\xfe\"}");
    assert_eq!(parse_request(&raw, None, "m", MAX).unwrap().id, "\u{fffd}\u{fffd}");
}

#[test]
fn roots_that_are_no_objects() {
    for json in ["[]", "\"a\"", "null", "1", "{}", r#"{"input":[]}"#, "[[[]]]"] {
        internal(json, "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'");
    }
    for json in [r#"{"inputs":{}}"#, r#"{"inputs":null}"#, r#"{"inputs":"x"}"#] {
        internal(json, "Unable to parse 'inputs': attempt to access JSON non-array as array");
    }
}

#[test]
fn sizes() {
    let body = Bytes::from_static(b"{\"inputs\":[]}");
    let error = parse_request(&body, None, "m", 12).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidArg);
    assert_eq!(
        error.message,
        "request JSON size of 13 bytes exceeds the maximum allowed input size of 12 bytes. Use \
         --http-max-input-size to increase the limit."
    );
    assert!(parse_request(&body, None, "m", 13).is_ok());
    let error = parse_request(&body, Some(20), "m", 100).unwrap_err();
    assert_eq!(error.message, "unexpected size for request JSON, expecting 7 more bytes");
}

#[test]
fn broken_json_counts_before_anything_it_says() {
    broken(
        r#"{"id":1,"parameters":[],"inputs":[1],"outputs":1"#,
        "Missing a comma or '}' after an object member. at 48",
    );
    broken(r#"{"inputs":[{"datatype":"FP32","data":["x",[[}]}]}"#, "Invalid value. at 44");
}

/// A request in which everything is wrong; each check is met in Triton's order as the one before is mended.
#[test]
fn order_of_checks() {
    let mut json = r#"{"outputs":1,"inputs":[{}],"parameters":[],"id":1}"#.to_owned();
    let mut expect = |message: &str, from: &str, to: &str| {
        assert_eq!(parse_binary(&json, b"x").unwrap_err().message, message);
        json = json.replace(from, to);
    };
    expect("Unable to parse 'id': attempt to access JSON non-string as string", "\"id\":1", "\"id\":\"1\"");
    expect(
        "failed to get request params.: attempt to get members for non-object",
        "\"parameters\":[]",
        "\"p\":0",
    );
    let one_source = "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', \
                      'shared_memory_region' in 'parameters'. But no field is set";
    expect(one_source, "[{}]", "[]");
    expect("unexpected additional input data for model 'm'", "", "");
    let error = parse(&json).unwrap_err();
    assert_eq!(error.message, "Unable to parse 'outputs': attempt to access JSON non-array as array");
}
