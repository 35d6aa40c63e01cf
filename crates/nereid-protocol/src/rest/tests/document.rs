//! Documents that steer the server.

use super::super::{ErrorKind, Json};

#[test]
fn a_tree_keeps_every_kind_of_value() {
    let text = br#" {"a":null,"b":[true,-1,18446744073709551615,1.5],"c":{"d":"\u00e9"},"a":1} "#;
    let document = Json::parse(text).unwrap();
    assert_eq!(document.get("a"), Some(&Json::Null), "the first of a name given twice");
    let b = [Json::Bool(true), Json::Negative(-1), Json::Unsigned(u64::MAX), Json::Double(1.5)];
    assert_eq!(document.get("b").unwrap().as_array().unwrap(), b);
    assert_eq!(document.get("c").unwrap().get("d").unwrap().as_str(), Ok("é"));
    assert_eq!(document.get("z"), None);
    assert_eq!(b[2].as_i64(), Err("attempt to access JSON non-signed-integer as signed-integer"));
    assert_eq!(b[0].as_str(), Err("attempt to access JSON non-string as string"));
}

#[test]
fn broken_and_hostile_documents() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let limit = "JSON nesting depth exceeds maximum allowed limit (100)";
    let many = format!("[{}0]", "0,".repeat(4 << 20));
    for (text, kind, message) in [
        ("", ErrorKind::Internal, "failed to parse the request JSON buffer: The document is empty. at 0"),
        ("{\"a\":1", ErrorKind::Internal, "failed to parse the request JSON buffer: Missing a comma or '}'"),
        ("{} x", ErrorKind::Internal, "failed to parse the request JSON buffer: The document root must not"),
        (&nested(102), ErrorKind::InvalidArg, limit),
        (&nested(250_000), ErrorKind::InvalidArg, limit),
        (&"{\"a\":".repeat(250_000), ErrorKind::InvalidArg, limit),
        (&many, ErrorKind::InvalidArg, "JSON of more than 4194304 values is not read"),
    ] {
        let error = Json::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind, kind);
        assert!(error.message.starts_with(message), "{}", error.message);
    }
    assert!(Json::parse(nested(101).as_bytes()).is_ok());
}
