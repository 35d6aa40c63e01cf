//! A config to JSON, byte for byte as Triton shows it.

use std::fmt::Write as _;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};

use crate::descriptors;
use crate::inference::ModelConfig;

/// The 64-bit fields that stay strings, as protobuf's JSON writes them. Triton turns the others into numbers
/// by a list of fields (`ModelConfigToJson` in its core), on which these were forgotten.
const STRINGS: [&str; 3] = [
    "inference.ModelInstanceGroup.SecondaryDevice.device_id",
    "inference.ModelOptimizationPolicy.Cuda.GraphSpec.Shape.dim",
    "inference.ModelSequenceBatching.InitialState.dims",
];

/// Writes a config as Triton's `/config` does.
///
/// Compact; fields in the order of their declaration under their .proto names; scalars, lists and maps also
/// where they are empty, but no message and no member of a oneof that is not set; enums by name; 64-bit
/// integers as numbers except three fields that Triton leaves as strings. Map entries are sorted by key, where
/// Triton has no order. A config without any field set gives the empty string, as in Triton.
pub fn to_json(config: &ModelConfig) -> String {
    let mut json = String::new();
    if *config != ModelConfig::default() {
        message(&mut json, &descriptors::to_dynamic(config));
    }
    json
}

fn message(json: &mut String, message: &DynamicMessage) {
    let shown = |field: &FieldDescriptor| !field.supports_presence() || message.has_field(field);
    let descriptor = message.descriptor();
    let fields = descriptors::declared_fields(&descriptor).filter(shown);
    sequence(json, '{', '}', fields, |json, field| {
        string(json, field.name());
        json.push(':');
        value(json, &field, message.get_field(&field).as_ref());
    });
}

fn value(json: &mut String, field: &FieldDescriptor, shown: &Value) {
    match shown {
        Value::Message(inner) => message(json, inner),
        Value::List(values) => sequence(json, '[', ']', values, |json, each| value(json, field, each)),
        Value::Map(entries) => {
            let kind = field.kind();
            let Kind::Message(entry) = kind else { unreachable!("a map field is made of entries") };
            let of_value = entry.map_entry_value_field();
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            sequence(json, '{', '}', entries, |json, (key, each)| {
                map_key(json, key);
                json.push(':');
                value(json, &of_value, each);
            });
        }
        Value::String(text) => string(json, text),
        Value::Bool(value) => json.push_str(if *value { "true" } else { "false" }),
        Value::EnumNumber(number) => match field.kind().as_enum().and_then(|e| e.get_value(*number)) {
            Some(known) => string(json, known.name()),
            None => integer(json, *number),
        },
        Value::I32(value) => integer(json, *value),
        Value::U32(value) => integer(json, *value),
        Value::I64(value) => long(json, field, *value),
        Value::U64(value) => long(json, field, *value),
        // The shortest decimal of the float, not the digits of the double nearest to it.
        Value::F32(value) => double(json, value.to_string().parse().unwrap_or(f64::from(*value))),
        Value::F64(value) => double(json, *value),
        Value::Bytes(_) => unreachable!("a config has no bytes"),
    }
}

fn sequence<T>(
    json: &mut String,
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    json.push(open);
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        write(json, item);
    }
    json.push(close);
}

fn map_key(json: &mut String, key: &MapKey) {
    match key {
        MapKey::String(text) => string(json, text),
        MapKey::Bool(value) => string(json, if *value { "true" } else { "false" }),
        MapKey::I32(value) => quoted(json, *value),
        MapKey::I64(value) => quoted(json, *value),
        MapKey::U32(value) => quoted(json, *value),
        MapKey::U64(value) => quoted(json, *value),
    }
}

fn long(json: &mut String, field: &FieldDescriptor, value: impl itoa::Integer) {
    if STRINGS.contains(&field.full_name()) { quoted(json, value) } else { integer(json, value) }
}

fn quoted(json: &mut String, value: impl itoa::Integer) {
    json.push('"');
    integer(json, value);
    json.push('"');
}

fn integer(json: &mut String, value: impl itoa::Integer) {
    json.push_str(itoa::Buffer::new().format(value));
}

/// A number as it comes out of protobuf's JSON followed by RapidJSON, through which Triton sends it:
/// without a point where it is whole, with an exponent only where it is very large or very small.
fn double(json: &mut String, value: f64) {
    // Writing into a String cannot fail.
    let _ = if value.is_nan() {
        write!(json, "\"NaN\"")
    } else if value.is_infinite() {
        write!(json, "\"{}Infinity\"", if value < 0.0 { "-" } else { "" })
    } else if value.fract() == 0.0 && value.abs() < 1e15 {
        write!(json, "{}", value as i64)
    } else if value.abs() < 1e-6 || value.abs() >= 1e21 {
        write!(json, "{value:e}")
    } else if value.fract() == 0.0 {
        write!(json, "{value:.1}")
    } else {
        write!(json, "{value}")
    };
}

/// A string escaped as little as JSON allows, with upper case digits in `\u`: RapidJSON's way.
fn string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\0'..='\x1f' => {
                let _ = write!(json, "\\u{:04X}", u32::from(character));
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles() {
        let check = |value: f64, expected: &str| {
            let mut json = String::new();
            double(&mut json, value);
            assert_eq!(json, expected);
        };
        check(0.0, "0");
        check(-0.0, "0");
        check(1.0, "1");
        check(-250.0, "-250");
        check(0.1, "0.1");
        check(2.5, "2.5");
        check(999_999_999_999_999.0, "999999999999999");
        check(1e15, "1000000000000000.0");
        check(1.5e20, "150000000000000000000.0");
        check(1e21, "1e21");
        check(1.5e300, "1.5e300");
        check(0.000_001, "0.000001");
        check(0.000_025, "0.000025");
        check(0.000_000_15, "1.5e-7");
        check(f64::NAN, "\"NaN\"");
        check(f64::INFINITY, "\"Infinity\"");
        check(f64::NEG_INFINITY, "\"-Infinity\"");
    }

    #[test]
    fn strings() {
        let check = |text: &str, expected: &str| {
            let mut json = String::new();
            string(&mut json, text);
            assert_eq!(json, expected);
        };
        check("", r#""""#);
        check("a/b<c>é😀\u{7f}", "\"a/b<c>é😀\u{7f}\"");
        check("\"\\", r#""\"\\""#);
        check("\u{8}\u{c}\n\r\t", r#""\b\f\n\r\t""#);
        check("\0\u{1f}", r#""\u0000\u001F""#);
    }
}
