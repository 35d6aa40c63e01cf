//! The `parameters` of a request: those with a meaning of their own, and custom ones that a model may read.

use std::collections::HashSet;

use super::error::{Error, Syntax};
use super::json::Reader;
use super::number::Number;
use super::outputs::{Encoding, encoding};
use super::value::{NO_STRING, Value};

/// A custom parameter of a request, or a parameter of a response.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
}

/// Id of a sequence of requests; the number 0 and the empty string mean "none".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CorrelationId {
    Number(u64),
    /// At most 128 bytes.
    Text(String),
}

impl Default for CorrelationId {
    fn default() -> Self {
        Self::Number(0)
    }
}

/// `parameters` of a request, taken apart.
#[derive(Debug, Default)]
pub(super) struct RequestParameters {
    pub(super) sequence_id: CorrelationId,
    pub(super) sequence_start: bool,
    pub(super) sequence_end: bool,
    pub(super) priority: u64,
    pub(super) timeout_us: u64,
    pub(super) default_encoding: Encoding,
    pub(super) custom: Vec<(String, Parameter)>,
}

const MAX_CORRELATION_ID_BYTES: usize = 128;

impl RequestParameters {
    /// With the reader on the value of `parameters`: reads it and moves behind it. Of equal names Triton sees the
    /// first.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Result<Self, Error>, Syntax> {
        if reader.peek() != b'{' {
            reader.skip()?;
            return Ok(Err(Error::internal(
                "failed to get request params.: attempt to get members for non-object",
            )));
        }
        let mut parameters = Ok(Self::default());
        let mut names = HashSet::new();
        let mut more = reader.enter_object()?;
        while more {
            let name = reader.name()?.bytes();
            let value = reader.value()?;
            if let Ok(known) = &mut parameters
                && !names.contains(&name)
            {
                match known.set(&name, &value) {
                    Ok(()) => drop(names.insert(name)),
                    Err(error) => parameters = Err(error),
                }
            }
            more = reader.next_member()?;
        }
        Ok(parameters)
    }

    fn set(&mut self, name: &[u8], value: &Value<'_>) -> Result<(), Error> {
        let unsigned = |name| value.as_u64().map_err(|e| Error::unable_to_parse(name, e));
        let boolean = |name| value.as_bool().map_err(|e| Error::unable_to_parse(name, e));
        match name {
            b"sequence_id" => self.sequence_id = correlation_id(value)?,
            b"sequence_start" => self.sequence_start = boolean("sequence_start")?,
            b"sequence_end" => self.sequence_end = boolean("sequence_end")?,
            b"priority" => self.priority = unsigned("priority")?,
            b"timeout" => self.timeout_us = unsigned("timeout")?,
            b"binary_data_output" => self.default_encoding = encoding(boolean("binary_data_output")?),
            _ if name.starts_with(b"triton_") => {
                return Err(Error::invalid_arg(
                    "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified.",
                ));
            }
            _ => {
                let name = String::from_utf8_lossy(name).into_owned();
                let value = custom(&name, value)?;
                self.custom.push((name, value));
            }
        }
        Ok(())
    }
}

fn correlation_id(value: &Value<'_>) -> Result<CorrelationId, Error> {
    if let Ok(number) = value.as_u64() {
        return Ok(CorrelationId::Number(number));
    }
    let text = value.as_str().map_err(|_| Error::unable_to_parse("sequence_id", NO_STRING))?.text();
    if text.len() > MAX_CORRELATION_ID_BYTES {
        return Err(Error::unsupported(format!(
            "string correlation ID cannot be longer than {MAX_CORRELATION_ID_BYTES} characters"
        )));
    }
    Ok(CorrelationId::Text(text))
}

/// A parameter without a meaning of its own.
pub(super) fn custom(name: &str, value: &Value<'_>) -> Result<Parameter, Error> {
    Ok(match value {
        Value::String(text) => Parameter::Text(text.text()),
        Value::Bool(value) => Parameter::Bool(*value),
        Value::Number(number) => match (number, number.as_i64()) {
            (_, Some(value)) => Parameter::Int(value),
            (Number::Double(value), None) => Parameter::Double(*value),
            (_, None) => Parameter::Double(number.as_f64()), // beyond 63 bits
        },
        Value::Null | Value::Array(_) | Value::Object => {
            return Err(Error::invalid_arg(format!(
                "parameter '{name}' has invalid type. It should be either 'int', 'bool', or 'string'."
            )));
        }
    })
}
