//! JSON to a config, led by the descriptors: the only recursion is into the messages that those declare.

use std::fmt::Display;

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use serde_json::Value as Json;

use crate::descriptors;
use crate::inference::ModelConfig;

/// Why a JSON text is no model config: `input[0].dims[1]: expected an integer, found "a"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The field, as a path from the config; empty where it is about the whole text.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl std::error::Error for Error {}

impl Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let colon = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}", self.path, self.message)
    }
}

/// Reads a model config from JSON: protobuf's JSON mapping, as Triton reads a load override.
///
/// Names in snake_case and in camelCase; 64-bit integers as numbers or strings; enums by name in any case or
/// by number; `null` means not given.
///
/// # Errors
/// The text is not JSON or nests deeper than 127 levels, a field or enum value is unknown, a value is of
/// another type or out of range, a second member of a oneof is given.
pub fn parse(text: &str) -> Result<ModelConfig, Error> {
    // serde_json stops at 128 levels by itself.
    let json: Json = serde_json::from_str(text).map_err(|error| Error::new(error.to_string()))?;
    Ok(descriptors::from_dynamic(&message(descriptors::model_config().clone(), &json)?))
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }

    fn expected(what: impl Display, found: &Json) -> Self {
        /// As much of a value as an error shows.
        const SHOWN: usize = 40;
        let found = match found {
            Json::Array(_) => "an array".to_owned(),
            Json::Object(_) => "an object".to_owned(),
            scalar => scalar.to_string().chars().take(SHOWN).collect(),
        };
        Self::new(format!("expected {what}, found {found}"))
    }

    /// The same error seen from one level above.
    fn inside(mut self, step: impl Display) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{step}{dot}{}", self.path);
        self
    }
}

fn message(descriptor: MessageDescriptor, json: &Json) -> Result<DynamicMessage, Error> {
    let Json::Object(members) = json else { return Err(Error::expected("an object", json)) };
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, json) in members {
        let field = descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name));
        let Some(field) = field else {
            return Err(Error::new(format!("unknown field '{name:.80}' in {}", descriptor.name())));
        };
        if json.is_null() {
            continue;
        }
        if message.has_field(&field) {
            // Once in snake_case and once in camelCase.
            return Err(Error::new(format!("field '{}' is given more than once", field.name())));
        }
        let other = field.containing_oneof().and_then(|oneof| oneof.fields().find(|f| message.has_field(f)));
        if let Some(other) = other {
            let excluded = format!("field '{name}' excludes '{}', which is given already", other.name());
            return Err(Error::new(excluded));
        }
        let value = field_value(&field, json).map_err(|error| error.inside(name))?;
        message.set_field(&field, value);
    }
    Ok(message)
}

fn field_value(field: &FieldDescriptor, json: &Json) -> Result<Value, Error> {
    let kind = field.kind();
    if field.is_list() {
        let Json::Array(items) = json else { return Err(Error::expected("an array", json)) };
        let item = |(at, json)| value(&kind, json).map_err(|error| error.inside(format_args!("[{at}]")));
        return Ok(Value::List(items.iter().enumerate().map(item).collect::<Result<_, _>>()?));
    }
    let Kind::Message(entry) = &kind else { return value(&kind, json) };
    if !field.is_map() {
        return value(&kind, json);
    }
    let Json::Object(members) = json else { return Err(Error::expected("an object", json)) };
    let (of_key, of_value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
    let member = |(name, json): (&String, &Json)| {
        let entry = map_key(&of_key, name).and_then(|key| Ok((key, value(&of_value, json)?)));
        entry.map_err(|error| error.inside(format_args!("[{name:?}]")))
    };
    Ok(Value::Map(members.iter().map(member).collect::<Result<_, _>>()?))
}

fn value(kind: &Kind, json: &Json) -> Result<Value, Error> {
    Ok(match kind {
        Kind::Message(descriptor) => Value::Message(message(descriptor.clone(), json)?),
        Kind::Enum(descriptor) => Value::EnumNumber(enumeration(descriptor, json)?),
        Kind::Bool => Value::Bool(json.as_bool().ok_or_else(|| Error::expected("true or false", json))?),
        Kind::String => {
            Value::String(json.as_str().ok_or_else(|| Error::expected("a string", json))?.to_owned())
        }
        Kind::Float => Value::F32(single(json)?),
        Kind::Double => Value::F64(float(json)?),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(integer(kind, json)?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(integer(kind, json)?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(integer(kind, json)?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(integer(kind, json)?),
        Kind::Bytes => unreachable!("a config has no bytes"),
    })
}

fn map_key(kind: &Kind, name: &str) -> Result<MapKey, Error> {
    let json = Json::String(name.to_owned());
    Ok(match kind {
        Kind::String => MapKey::String(name.to_owned()),
        Kind::Bool => MapKey::Bool(name.parse().map_err(|_| Error::expected("true or false", &json))?),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => MapKey::I32(integer(kind, &json)?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => MapKey::I64(integer(kind, &json)?),
        Kind::Uint32 | Kind::Fixed32 => MapKey::U32(integer(kind, &json)?),
        Kind::Uint64 | Kind::Fixed64 => MapKey::U64(integer(kind, &json)?),
        _ => unreachable!("protobuf has no map with keys of {kind:?}"),
    })
}

fn integer<T: TryFrom<i128>>(kind: &Kind, json: &Json) -> Result<T, Error> {
    let whole = |value: f64| (value.fract() == 0.0 && value.abs() < 2e19).then_some(value as i128);
    let value = match json {
        // A number that serde_json holds as a float may still be whole: 8.0, 1e3.
        Json::Number(number) => number.as_i128().or_else(|| number.as_f64().and_then(whole)),
        Json::String(text) => text.parse().ok(),
        _ => None,
    };
    let value = value.ok_or_else(|| Error::expected("an integer", json))?;
    T::try_from(value).map_err(|_| Error::new(format!("{value} is out of range for {kind:?}")))
}

fn float(json: &Json) -> Result<f64, Error> {
    let value = match json {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok().filter(|value: &f64| value.is_finite()),
        },
        _ => None,
    };
    value.ok_or_else(|| Error::expected("a number", json))
}

fn single(json: &Json) -> Result<f32, Error> {
    let value = float(json)?;
    let single = value as f32;
    if value.is_finite() && single.is_infinite() {
        return Err(Error::new(format!("{value:e} is out of range for float")));
    }
    Ok(single)
}

fn enumeration(descriptor: &EnumDescriptor, json: &Json) -> Result<i32, Error> {
    let Json::String(name) = json else { return integer(&Kind::Int32, json) };
    let known = descriptor
        .get_value_by_name(name)
        .or_else(|| descriptor.get_value_by_name(&name.to_ascii_uppercase().replace('-', "_")))
        .map(|value| value.number())
        .or_else(|| name.parse().ok());
    known.ok_or_else(|| Error::new(format!("unknown value '{name:.80}' of {}", descriptor.name())))
}
