//! One JSON value and the typed ways to look at it, with the words Triton has for a value of the wrong type.

use super::number::Number;
use super::string::Str;

/// A value; of arrays and objects only that they were there.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(usize)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(Str<'a>),
    /// The offset of its opening bracket.
    Array(usize),
    Object,
}

/// Texts of Triton's JSON accessors (`triton_json.h`).
pub(super) const NO_STRING: &str = "attempt to access JSON non-string as string";
pub(super) const NO_BOOL: &str = "attempt to access JSON non-boolean as boolean";
pub(super) const NO_INT: &str = "attempt to access JSON non-signed-integer as signed-integer";
pub(super) const NO_UINT: &str = "attempt to access JSON non-unsigned-integer as unsigned-integer";
pub(super) const NO_NUMBER: &str = "attempt to access JSON non-number as double";
pub(super) const NO_ARRAY: &str = "attempt to access JSON non-array as array";

impl<'a> Value<'a> {
    pub(super) fn as_str(&self) -> Result<Str<'a>, &'static str> {
        match self {
            Self::String(string) => Ok(*string),
            _ => Err(NO_STRING),
        }
    }

    pub(super) fn as_bool(&self) -> Result<bool, &'static str> {
        match self {
            Self::Bool(value) => Ok(*value),
            _ => Err(NO_BOOL),
        }
    }

    pub(super) fn as_u64(&self) -> Result<u64, &'static str> {
        match self {
            Self::Number(number) => number.as_u64().ok_or(NO_UINT),
            _ => Err(NO_UINT),
        }
    }
}

/// `attempt to access non-existing object member 'name'`.
pub(super) fn no_member(name: &str) -> String {
    format!("attempt to access non-existing object member '{name}'")
}
