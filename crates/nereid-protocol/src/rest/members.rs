//! The body of `generate`: one JSON object whose members are tensors or parameters, as the caller decides by name.
//!
//! A member is only located when the text is parsed, and read when it is asked for; nothing is built twice. No member
//! has a meaning of its own here. Texts and the order of checks are Triton's (`ExactMappingInput` in `http_server.cc`).

use bytes::Bytes;

use super::datatype::Datatype;
use super::error::{Error, ErrorKind, Syntax};
use super::json::Reader;
use super::parameters::{Parameter, custom};
use super::request::json_too_long;
use super::tensor_data::{self, Budget, TensorData};
use super::value::Value;

/// Most members of one object: they take many times the memory of their text.
const MAX_MEMBERS: usize = 1 << 20;

/// A member of a JSON object.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    text: &'a [u8],
    /// Offset of the name.
    name_at: usize,
    /// Offset of the value.
    at: usize,
    value: Value<'a>,
}

/// A member to be read as a tensor.
#[derive(Debug)]
pub struct LooseTensor<'a> {
    /// Elements of the outermost array; 1 when there is no array.
    pub count: usize,
    /// Bytes that the tensor takes: `count` elements, or the strings with their length prefixes.
    pub byte_size: u64,
    member: Member<'a>,
    datatype: Datatype,
    max_bytes: usize,
    /// Strings are read when they are counted, unless they are too many.
    strings: Option<TensorData>,
}

/// The members of the object that `text` is, in its order; names may repeat.
///
/// # Errors
/// Broken JSON or no object (Internal); more than `max_bytes` (`--http-max-input-size`) or 1,048,576 members (InvalidArg).
pub fn parse_members(text: &[u8], max_bytes: usize) -> Result<Vec<Member<'_>>, Error> {
    if text.len() > max_bytes {
        return Err(json_too_long(text.len() as u64, max_bytes));
    }
    let mut reader = Reader::open(text)?;
    if reader.peek() != b'{' {
        reader.skip()?;
        reader.close()?;
        return Err(Error::internal("attempt to get members for non-object"));
    }
    let members = read_members(&mut reader)?;
    reader.close()?;
    Ok(members)
}

impl<'a> Member<'a> {
    /// Its name.
    pub fn name(&self) -> String {
        let mut reader = Reader { text: self.text, at: self.name_at };
        reader.name().map(|name| name.text()).unwrap_or_default() // it was read before
    }

    /// # Errors
    /// `Unable to parse 'field': …` if it is no string.
    pub fn as_text(&self, field: &str) -> Result<String, Error> {
        self.value.as_str().map(|text| text.text()).map_err(|reason| Error::unable_to_parse(field, reason))
    }

    /// Its own members.
    ///
    /// # Errors
    /// It is no object.
    pub fn members(&self) -> Result<Vec<Member<'a>>, Error> {
        if self.value != Value::Object {
            return Err(Error::internal("attempt to access JSON non-object as object"));
        }
        read_members(&mut self.reader())
    }

    /// As a request parameter called `name`.
    ///
    /// # Errors
    /// It is null, an array or an object.
    pub fn parameter(&self, name: &str) -> Result<Parameter, Error> {
        custom(name, &self.value)
    }

    /// As a tensor of `datatype`, of which at most `max_bytes` are kept.
    ///
    /// # Errors
    /// For BYTES: something in it is no string, or it is nested too deep. Other types are looked at by
    /// [`LooseTensor::read`].
    pub fn tensor(&self, datatype: Datatype, max_bytes: usize) -> Result<LooseTensor<'a>, Error> {
        let count = self.count()?;
        let mut tensor =
            LooseTensor { count, byte_size: 0, member: *self, datatype, max_bytes, strings: None };
        match datatype.size_bytes() {
            Some(size) => tensor.byte_size = (count as u64).saturating_mul(size as u64),
            None => {
                let strings = tensor.data()?;
                tensor.byte_size = strings.string_bytes()?;
                tensor.strings = Some(strings);
            }
        }
        Ok(tensor)
    }

    fn count(&self) -> Result<usize, Syntax> {
        if !matches!(self.value, Value::Array(_)) {
            return Ok(1);
        }
        let mut reader = self.reader();
        let mut count = 0;
        let mut more = reader.enter_array();
        while more {
            reader.skip()?;
            count += 1;
            more = reader.next_element()?;
        }
        Ok(count)
    }

    fn reader(&self) -> Reader<'a> {
        Reader { text: self.text, at: self.at }
    }
}

impl LooseTensor<'_> {
    /// The dense data, `count` elements of it. What is nested counts each of its elements, so that only arrays of one
    /// element may be nested unless they hold strings.
    ///
    /// # Errors
    /// Another number of elements, one of the wrong JSON type, or a datatype that has no JSON form.
    pub fn read(self, name: &str) -> Result<Bytes, Error> {
        let Self { count, datatype, .. } = self;
        if !tensor_data::is_readable(datatype) {
            return Err(Error {
                kind: ErrorKind::InvalidArg,
                message: format!(
                    "receiving {} data via JSON is not supported. Please use the binary data format for input {name}",
                    datatype.name()
                ),
            });
        }
        let data = match self.strings {
            Some(strings) => strings,
            None => self.data()?,
        };
        Ok(data.into_bytes(datatype, count)?.into())
    }

    fn data(&self) -> Result<TensorData, Syntax> {
        let budget = Budget { max_bytes: self.max_bytes, expected: self.count };
        tensor_data::read(&mut self.member.reader(), self.datatype, budget)
    }
}

/// On `{`: reads the object and moves behind it.
fn read_members<'a>(reader: &mut Reader<'a>) -> Result<Vec<Member<'a>>, Error> {
    let mut members = Vec::new();
    let mut more = reader.enter_object()?;
    while more {
        if members.len() == MAX_MEMBERS {
            return Err(Error::invalid_arg(format!(
                "a JSON object of more than {MAX_MEMBERS} members is not read"
            )));
        }
        let name_at = reader.at;
        reader.name()?;
        let at = reader.at;
        members.push(Member { text: reader.text, name_at, at, value: reader.value()? });
        more = reader.next_member()?;
    }
    Ok(members)
}
