//! The JSON of bodies that steer the server, against serde_json: what that accepts is read to the same values.
//! The reverse does not hold: Triton's JSON knows NaN, ends at a NUL and does not look at UTF-8.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nereid_protocol::rest::Json;
use serde_json::Value;

fuzz_target!(|text: &[u8]| {
    let ours = Json::parse(text);
    let Ok(theirs) = serde_json::from_slice::<Value>(text) else { return };
    match ours {
        Ok(ours) => same(&ours, &theirs),
        // Deeper than Triton reads; or a zero with an exponent that would make any other number too big.
        Err(e) => {
            let known = ["nesting depth", "Number too big"];
            assert!(known.iter().any(|k| e.message.contains(k)), "{e}: {theirs}");
        }
    }
});

fn same(ours: &Json, theirs: &Value) {
    match (ours, theirs) {
        (Json::Null, Value::Null) => {}
        (Json::Bool(a), Value::Bool(b)) => assert_eq!(a, b),
        (Json::String(a), Value::String(b)) => assert_eq!(a, b),
        (Json::Unsigned(a), Value::Number(b)) if b.is_u64() => assert_eq!(Some(*a), b.as_u64()),
        (Json::Negative(a), Value::Number(b)) if b.is_i64() => assert_eq!(Some(*a), b.as_i64()),
        // serde_json takes -0 for a float.
        (Json::Unsigned(0) | Json::Negative(0), Value::Number(b)) => assert_eq!(b.as_f64(), Some(0.0)),
        (Json::Double(a), Value::Number(b)) => assert_eq!(Some(a.to_bits()), b.as_f64().map(f64::to_bits)),
        (Json::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).for_each(|(a, b)| same(a, b));
        }
        (Json::Object(a), Value::Object(b)) => {
            // Of equal names serde_json keeps the last.
            for (name, theirs) in b {
                let found = a.iter().rev().find(|(n, _)| n == name);
                same(&found.expect("no member is lost").1, theirs);
            }
            assert!(a.iter().all(|(name, _)| b.contains_key(name)));
        }
        _ => panic!("{ours:?} is not {theirs:?}"),
    }
}
