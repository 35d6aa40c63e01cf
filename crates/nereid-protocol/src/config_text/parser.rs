//! Tokens to a config, led by the descriptors: the only recursion is into the messages that those declare.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};

use super::lexer::Lexer;
use super::token::{Fault, Token};
use crate::descriptors;
use crate::inference::ModelConfig;

/// Reads a whole text as a model config.
pub(super) fn parse(text: &str) -> Result<ModelConfig, Fault> {
    let mut lexer = Lexer::new(text);
    let (start, token) = lexer.next()?;
    let mut parser = Parser { lexer, token, start };
    let mut config = DynamicMessage::new(descriptors::model_config().clone());
    while parser.token != Token::End {
        parser.field(&mut config)?;
    }
    Ok(descriptors::from_dynamic(&config))
}

/// The token to look at next, where it starts, and what comes after it.
struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    start: usize,
}

impl<'a> Parser<'a> {
    fn field(&mut self, message: &mut DynamicMessage) -> Result<(), Fault> {
        let field = self.field_name(message)?;
        let is_message = matches!(field.kind(), Kind::Message(_));
        if !self.take(':')? && !is_message {
            return Err(self.unexpected(&field, "':'"));
        }
        if !field.is_list() && !field.is_map() {
            let value = self.value(&field)?;
            message.set_field(&field, value);
        } else if self.take('[')? {
            if !self.take(']')? {
                self.element(message, &field)?;
                while !self.take(']')? {
                    if !self.take(',')? {
                        return Err(self.unexpected(&field, "',' or ']'"));
                    }
                    self.element(message, &field)?;
                }
            }
        } else {
            self.element(message, &field)?;
        }
        if !self.take(',')? {
            self.take(';')?;
        }
        Ok(())
    }

    /// The field whose name comes next, if it exists and may still be given.
    fn field_name(&mut self, message: &DynamicMessage) -> Result<FieldDescriptor, Fault> {
        let descriptor = message.descriptor();
        let Token::Ident(name) = self.token else {
            let expected = format!("expected a field of {}, found {}", descriptor.name(), self.token);
            return Err(Fault::new(self.start, expected));
        };
        let Some(field) = descriptor.get_field_by_name(name) else {
            let unknown = format!("unknown field '{name:.80}' in {}", descriptor.name());
            return Err(Fault::new(self.start, unknown));
        };
        if !field.is_list() && !field.is_map() && message.has_field(&field) {
            return Err(Fault::new(self.start, format!("field '{name}' is given more than once")));
        }
        let other = field.containing_oneof().and_then(|oneof| oneof.fields().find(|f| message.has_field(f)));
        if let Some(other) = other {
            let excluded = format!("field '{name}' excludes '{}', which is given already", other.name());
            return Err(Fault::new(self.start, excluded));
        }
        self.advance()?;
        Ok(field)
    }

    /// One value of a repeated field or one entry of a map, added to what is there.
    fn element(&mut self, message: &mut DynamicMessage, field: &FieldDescriptor) -> Result<(), Fault> {
        let start = self.start;
        let value = self.value(field)?;
        match message.get_field_mut(field) {
            Value::List(values) => values.push(value),
            Value::Map(entries) => {
                let (key, value) = entry(value)
                    .ok_or_else(|| Fault::new(start, format!("field '{}': bad map entry", field.name())))?;
                entries.insert(key, value);
            }
            other => unreachable!("the descriptor says repeated, the value is {other:?}"),
        }
        Ok(())
    }

    fn value(&mut self, field: &FieldDescriptor) -> Result<Value, Fault> {
        Ok(match field.kind() {
            Kind::Message(descriptor) => {
                Value::Message(self.message(field, DynamicMessage::new(descriptor))?)
            }
            Kind::Enum(_) => Value::EnumNumber(self.enumeration(field)?),
            Kind::Bool => Value::Bool(self.boolean(field)?),
            Kind::String => Value::String(self.string(field)?),
            Kind::Float => Value::F32(self.float(field)? as f32),
            Kind::Double => Value::F64(self.float(field)?),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.integer(field)?),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.integer(field)?),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.integer(field)?),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.integer(field)?),
            Kind::Bytes => Value::Bytes(self.bytes(field)?.into()),
        })
    }

    fn message(
        &mut self,
        field: &FieldDescriptor,
        mut message: DynamicMessage,
    ) -> Result<DynamicMessage, Fault> {
        let close = if self.take('{')? {
            '}'
        } else if self.take('<')? {
            '>'
        } else {
            return Err(self.unexpected(field, "'{'"));
        };
        while !self.take(close)? {
            if self.token == Token::End {
                return Err(self.unexpected(field, &format!("'{close}'")));
            }
            self.field(&mut message)?;
        }
        Ok(message)
    }

    fn enumeration(&mut self, field: &FieldDescriptor) -> Result<i32, Fault> {
        let Token::Ident(name) = self.token else {
            // Any number: an enum of proto3 is open.
            return self.integer(field);
        };
        let kind = field.kind();
        let known = kind.as_enum().and_then(|values| values.get_value_by_name(name));
        let value = known.ok_or_else(|| {
            let message = format!("field '{}': unknown value '{name:.80}'", field.name());
            Fault::new(self.start, message)
        })?;
        self.advance()?;
        Ok(value.number())
    }

    fn boolean(&mut self, field: &FieldDescriptor) -> Result<bool, Fault> {
        let value = match self.token {
            Token::Ident("true" | "True" | "t") => true,
            Token::Ident("false" | "False" | "f") => false,
            Token::Int(digits) if magnitude(digits) == Some(0) => false,
            Token::Int(digits) if magnitude(digits) == Some(1) => true,
            _ => return Err(self.unexpected(field, "true or false")),
        };
        self.advance()?;
        Ok(value)
    }

    fn integer<T: TryFrom<i128>>(&mut self, field: &FieldDescriptor) -> Result<T, Fault> {
        let start = self.start;
        let negative = self.take('-')?;
        let Token::Int(digits) = self.token else { return Err(self.unexpected(field, "an integer")) };
        let value = magnitude(digits).map(|m| if negative { -i128::from(m) } else { i128::from(m) });
        let value = value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| {
            let sign = if negative { "-" } else { "" };
            let (name, kind) = (field.name(), field.kind());
            let message = format!("field '{name}': {sign}{digits:.40} is out of range for {kind:?}");
            Fault::new(start, message)
        })?;
        self.advance()?;
        Ok(value)
    }

    fn float(&mut self, field: &FieldDescriptor) -> Result<f64, Fault> {
        let negative = self.take('-')?;
        let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
        let decimal = |digits: &str| digits.len() == 1 || !digits.starts_with('0');
        let value = match self.token {
            Token::Float(text) => text.parse().ok(),
            Token::Int(digits) if decimal(digits) => digits.parse().ok(),
            Token::Ident(name) if is(name, "inf") || is(name, "infinity") => Some(f64::INFINITY),
            Token::Ident(name) if is(name, "nan") => Some(f64::NAN),
            _ => None,
        };
        let value = value.ok_or_else(|| self.unexpected(field, "a decimal number"))?;
        self.advance()?;
        Ok(if negative { -value } else { value })
    }

    fn string(&mut self, field: &FieldDescriptor) -> Result<String, Fault> {
        let start = self.start;
        String::from_utf8(self.bytes(field)?)
            .map_err(|_| Fault::new(start, format!("field '{}': the string is not UTF-8", field.name())))
    }

    /// A string and those that follow it, joined.
    fn bytes(&mut self, field: &FieldDescriptor) -> Result<Vec<u8>, Fault> {
        let mut joined = Vec::new();
        if !matches!(self.token, Token::Str(_)) {
            return Err(self.unexpected(field, "a string"));
        }
        while let Token::Str(bytes) = &self.token {
            joined.extend_from_slice(bytes);
            self.advance()?;
        }
        Ok(joined)
    }

    /// Moves over a symbol if it comes next.
    fn take(&mut self, symbol: char) -> Result<bool, Fault> {
        let found = self.token == Token::Symbol(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn advance(&mut self) -> Result<(), Fault> {
        (self.start, self.token) = self.lexer.next()?;
        Ok(())
    }

    fn unexpected(&self, field: &FieldDescriptor, expected: &str) -> Fault {
        let message = format!("field '{}': expected {expected}, found {}", field.name(), self.token);
        Fault::new(self.start, message)
    }
}

/// The value of decimal, octal or hexadecimal digits; `None` above 64 bits.
fn magnitude(digits: &str) -> Option<u64> {
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    u64::from_str_radix(digits, radix).ok()
}

/// What a map entry says; a key or a value that is left out has its default.
fn entry(value: Value) -> Option<(MapKey, Value)> {
    let Value::Message(message) = value else { return None };
    let descriptor = message.descriptor();
    let key = message.get_field(&descriptor.map_entry_key_field()).into_owned().into_map_key()?;
    let value = message.get_field(&descriptor.map_entry_value_field()).into_owned();
    Some((key, value))
}
