//! Text that is meant to break a parser: depth, truncation, mutation, promises of size.

use bytes::Bytes;

use super::super::{Request, parse_request};
use super::{MAX, input, internal, invalid, parse};

const SEEDS: [&[u8]; 5] = [
    br#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}],"outputs":[{"name":"output","parameters":{"binary_data":true}}]}12345678"#,
    br#"{"id":"a\u00e9\ud83d\ude00\n","parameters":{"a":1,"b":-1.5e3,"sequence_id":"x"},"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[[1,2.5],[-3e2,0.125]]},{"data":["a","\"b"],"datatype":"BYTES","shape":[2],"name":"s"}]}"#,
    br#"{"inputs":[{"datatype":"FP64","shape":[9],"name":"n","data":[0.1234567890123456789,12345678901234567890,123456789012345678901,1e308,1e-400,-0.0,0,-5,NaN]},{"name":"b","shape":[2],"datatype":"BOOL","data":[true,false]}]}"#,
    br#"{"x":0.00000000000000000000.0,"inputs":[{"datatype":"FP32","shape":[2],"name":"n","data":[0.00000000000000000000,0.0000000000000000000000001e5]}]}"#,
    br#"{"x":[{"a":[[],{}]},null],"outputs":[{"name":"o","parameters":{"shared_memory_region":"r","shared_memory_byte_size":4}}],"inputs":[{"name":"i","datatype":"INT8","shape":[1],"parameters":{"shared_memory_region":"r"}}]}"#,
];

#[track_caller]
fn never_panics(text: &[u8]) -> Option<Request> {
    let body = Bytes::copy_from_slice(text);
    let whole = parse_request(&body, None, "m", MAX).ok();
    for header_length in [1, body.len() / 2, body.len().saturating_sub(8)] {
        let _ = parse_request(&body, Some(header_length), "m", MAX);
    }
    whole
}

#[test]
fn depth_of_data() {
    let nested = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    let json = |datatype: &str, data: &str| {
        input(&format!(r#""name":"x","datatype":"{datatype}","shape":[1],"data":{data}"#))
    };
    let too_deep = "JSON nesting depth exceeds maximum allowed limit (100)";
    assert!(parse(&json("INT8", &nested(99, "1"))).is_ok());
    invalid(&json("INT8", &nested(100, "1")), &format!("Unable to parse 'data': {too_deep}"));
    invalid(&json("INT8", &nested(101, "")), &format!("Unable to parse 'data': {too_deep}"));
    invalid(&json("INT8", &nested(250_000, "1")), &format!("Unable to parse 'data': {too_deep}"));
    assert!(parse(&json("BYTES", &nested(99, "\"a\""))).is_ok());
    invalid(&json("BYTES", &nested(250_000, "\"a\"")), too_deep);
    internal(
        &json("INT8", &format!("[1,2,{}]", nested(250_000, ""))),
        "Unable to parse 'data': Shape does not match true shape of 'data' field",
    );
}

#[test]
fn depth_elsewhere() {
    let depth = 250_000;
    let open = "[".repeat(depth);
    internal(&open, &format!("failed to parse the request JSON buffer: Invalid value. at {depth}"));
    let objects = r#"{"a":"#.repeat(depth / 2);
    let at = objects.len();
    internal(&objects, &format!("failed to parse the request JSON buffer: Invalid value. at {at}"));
    let closed = format!(r#"{{"x":{open}{},"inputs":[]}}"#, "]".repeat(depth));
    assert!(parse_request(&closed.into(), None, "m", MAX).is_ok());
    let mixed = format!(r#"{{"x":{}1{},"inputs":[]}}"#, r#"[{"a":"#.repeat(5_000), "}]".repeat(5_000));
    assert!(parse(&mixed).is_ok());
    let crossed = mixed.replacen("}]", "]}", 1);
    assert!(parse(&crossed).unwrap_err().message.contains("Missing a comma or '}'"));
}

#[test]
fn truncated_anywhere() {
    for seed in SEEDS {
        for end in 0..seed.len() {
            never_panics(&seed[..end]);
        }
    }
}

#[test]
fn mutated_at_random() {
    const BYTES: &[u8] = b"{}[],:\"\\ \n0123456789-+.eENaInftrulsu\x00\x01\x1f\x7f\x80\xff";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut text = SEEDS[random(SEEDS.len())].to_vec();
        for _ in 0..=random(4) {
            let at = random(text.len());
            match random(4) {
                0 => text[at] = BYTES[random(BYTES.len())],
                1 => text.insert(at, BYTES[random(BYTES.len())]),
                2 => text.truncate(at.max(1)),
                _ => {
                    text.remove(at);
                    text.push(b'}');
                }
            }
        }
        accepted += usize::from(never_panics(&text).is_some());
    }
    assert!(accepted > 100, "the mutations were too coarse to get past the syntax: {accepted}");
}

#[test]
fn a_promise_of_size_reserves_nothing() {
    // 100 inputs that each promise as much as the limit allows, and hold nothing: refused at the first one.
    let one = r#"{"name":"x","datatype":"FP64","shape":[131072],"data":[]}"#;
    let json = format!(r#"{{"inputs":[{}]}}"#, vec![one; 100].join(","));
    internal(&json, "Failed to parse 'data' field: shape does not match true shape");
    let json = input(r#""name":"x","datatype":"BYTES","shape":[9007199254740993],"data":["a"]"#);
    assert_eq!(parse(&json).unwrap().inputs[0].shape, [9_007_199_254_740_993], "strings are counted later");
}
