//! Requested outputs.

use super::super::{Encoding, Output, SharedMemory};
use super::{internal, invalid, parse};

fn json(outputs: &str) -> String {
    format!(r#"{{"outputs":[{outputs}],"inputs":[]}}"#)
}

fn outputs(json_outputs: &str) -> Vec<Output> {
    parse(&json(json_outputs)).unwrap().outputs
}

#[test]
fn encodings() {
    for (parameters, encoding, classification) in [
        ("", Encoding::Json, 0),
        (r#","parameters":{}"#, Encoding::Json, 0),
        (r#","parameters":7"#, Encoding::Json, 0),
        (r#","parameters":{"binary_data":true}"#, Encoding::Binary, 0),
        (r#","parameters":{"binary_data":false,"classification":0}"#, Encoding::Json, 0),
        (r#","parameters":{"classification":3,"binary_data":true}"#, Encoding::Binary, 3),
        (r#","parameters":{"classification":4294967296}"#, Encoding::Json, u32::MAX),
    ] {
        let expected = Output { name: "o".to_owned(), encoding, classification, shared_memory: None };
        assert_eq!(outputs(&format!(r#"{{"name":"o"{parameters}}}"#)), [expected], "{parameters}");
    }
    assert!(outputs("").is_empty());
}

#[test]
fn shared_memory() {
    let parameters = r#""shared_memory_region":"r","shared_memory_byte_size":64,"shared_memory_offset":8"#;
    let with = |more: &str| format!(r#"{{"name":"o","parameters":{{{parameters}{more}}}}}"#);
    let expected = SharedMemory { region: "r".to_owned(), offset: 8, byte_size: 64 };
    for more in ["", r#","binary_data":false"#] {
        assert_eq!(outputs(&with(more))[0].shared_memory, Some(expected.clone()));
    }
    invalid(
        &json(&with(r#","classification":0"#)),
        "Output can't set both 'shared_memory_region' and 'classification'",
    );
    invalid(
        &json(&with(r#","binary_data":true"#)),
        "Output can't set both 'shared_memory_region' and 'binary_data'",
    );
    internal(
        &json(&with(r#","binary_data":1"#)),
        "Unable to set 'binary_data': attempt to access JSON non-boolean as boolean",
    );
}

#[test]
fn mistyped_fields() {
    let no_uint = "attempt to access JSON non-unsigned-integer as unsigned-integer";
    for (output, message) in [
        ("{}", "Unable to parse 'name': attempt to access non-existing object member 'name'".to_owned()),
        ("1", "Unable to parse 'name': attempt to access non-existing object member 'name'".to_owned()),
        (r#"{"name":1}"#, "Unable to parse 'name': attempt to access JSON non-string as string".to_owned()),
        (
            r#"{"name":"o","parameters":{"classification":-1}}"#,
            format!("Unable to set 'classification': {no_uint}"),
        ),
        (
            r#"{"name":"o","parameters":{"shared_memory_offset":"0"}}"#,
            format!("Unable to parse 'shared_memory_offset': {no_uint}"),
        ),
        (
            r#"{"name":"o","parameters":{"binary_data":"true"}}"#,
            "Unable to parse 'binary_data': attempt to access JSON non-boolean as boolean".to_owned(),
        ),
    ] {
        internal(&json(output), &message);
    }
}

#[test]
fn names_may_repeat() {
    let twice = outputs(r#"{"name":"o"},{"name":"p"},{"name":"o","parameters":{"binary_data":true}}"#);
    assert_eq!(
        twice.iter().map(|o| (&*o.name, o.encoding)).collect::<Vec<_>>(),
        [("o", Encoding::Json), ("p", Encoding::Json), ("o", Encoding::Binary)]
    );
}
