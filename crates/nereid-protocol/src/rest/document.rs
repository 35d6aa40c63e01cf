//! A small JSON document as a tree, for bodies that steer the server: load parameters, settings, regions.
//!
//! Same grammar and same error texts as inference bodies. Depth and number of values are bounded, so that a tree costs
//! a fixed multiple of its text at most; tensors do not come this way.

use super::error::Error;
use super::json::Reader;
use super::number::Number;
use super::value::{self, Value};

/// Deepest nesting, as in Triton (`triton_json.h`).
const MAX_DEPTH: usize = 100;
/// Most values of one document. 32 bytes each, besides strings.
const MAX_VALUES: usize = 4 << 20;

/// A JSON value. Names and strings that are not UTF-8 have U+FFFD in place of what is wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// An integer of at least zero.
    Unsigned(u64),
    /// An integer below zero.
    Negative(i64),
    /// With a fraction or an exponent, or beyond 64 bits, or not finite.
    Double(f64),
    String(String),
    Array(Vec<Json>),
    /// Members in the order of the text; of a name given twice, [`Json::get`] finds the first.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a document.
    ///
    /// # Errors
    /// Broken JSON, in Triton's words (Internal); nested deeper than 100, or more than 4,194,304 values (InvalidArg).
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::open(text)?;
        let mut left = MAX_VALUES;
        let root = read(&mut reader, 0, &mut left)?;
        reader.close()?;
        Ok(root)
    }

    /// The member `name`; `None` also if this is no object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// # Errors
    /// Triton's words for a value that is no string.
    pub fn as_str(&self) -> Result<&str, &'static str> {
        match self {
            Self::String(text) => Ok(text),
            _ => Err(value::NO_STRING),
        }
    }

    /// # Errors
    /// Triton's words for a value that is no boolean.
    pub fn as_bool(&self) -> Result<bool, &'static str> {
        match self {
            Self::Bool(value) => Ok(*value),
            _ => Err(value::NO_BOOL),
        }
    }

    /// # Errors
    /// Triton's words for a value that is no integer of at least 0.
    pub fn as_u64(&self) -> Result<u64, &'static str> {
        match self {
            Self::Unsigned(value) => Ok(*value),
            _ => Err(value::NO_UINT),
        }
    }

    /// # Errors
    /// Triton's words for a value that is no signed integer.
    pub fn as_i64(&self) -> Result<i64, &'static str> {
        match self {
            Self::Unsigned(value) => i64::try_from(*value).map_err(|_| value::NO_INT),
            Self::Negative(value) => Ok(*value),
            _ => Err(value::NO_INT),
        }
    }

    /// # Errors
    /// Triton's words for a value that is no number.
    pub fn as_f64(&self) -> Result<f64, &'static str> {
        match self {
            Self::Unsigned(value) => Ok(*value as f64),
            Self::Negative(value) => Ok(*value as f64),
            Self::Double(value) => Ok(*value),
            _ => Err(value::NO_NUMBER),
        }
    }

    /// # Errors
    /// Triton's words for a value that is no array.
    pub fn as_array(&self) -> Result<&[Self], &'static str> {
        match self {
            Self::Array(elements) => Ok(elements),
            _ => Err(value::NO_ARRAY),
        }
    }
}

/// On a value: reads it and moves behind it. Recursion is bounded by `MAX_DEPTH`.
fn read(reader: &mut Reader<'_>, depth: usize, left: &mut usize) -> Result<Json, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid_arg(format!(
            "JSON nesting depth exceeds maximum allowed limit ({MAX_DEPTH})"
        )));
    }
    *left = left
        .checked_sub(1)
        .ok_or_else(|| Error::invalid_arg(format!("JSON of more than {MAX_VALUES} values is not read")))?;
    Ok(match reader.peek() {
        b'[' => {
            let mut elements = Vec::new();
            let mut more = reader.enter_array();
            while more {
                elements.push(read(reader, depth + 1, left)?);
                more = reader.next_element()?;
            }
            Json::Array(elements)
        }
        b'{' => {
            let mut members = Vec::new();
            let mut more = reader.enter_object()?;
            while more {
                let name = reader.name()?.text();
                members.push((name, read(reader, depth + 1, left)?));
                more = reader.next_member()?;
            }
            Json::Object(members)
        }
        _ => match reader.scalar()? {
            Value::Bool(value) => Json::Bool(value),
            Value::Number(Number::Unsigned(value)) => Json::Unsigned(value),
            Value::Number(Number::Negative(value)) => Json::Negative(value),
            Value::Number(Number::Double(value)) => Json::Double(value),
            Value::String(text) => Json::String(text.text()),
            // `scalar` gives neither of the last two.
            Value::Null | Value::Array(_) | Value::Object => Json::Null,
        },
    })
}
