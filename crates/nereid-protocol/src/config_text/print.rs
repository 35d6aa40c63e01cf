//! A config as text: one field a line in the order of declaration, only what is set.

use std::fmt::Write as _;

use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage, Value};

use crate::descriptors;
use crate::inference::ModelConfig;

/// Prints a config so that [`parse`](super::parse) reads the same config again.
pub fn print(config: &ModelConfig) -> String {
    let mut printer = Printer { text: String::new(), depth: 0 };
    printer.fields(&descriptors::to_dynamic(config));
    printer.text
}

struct Printer {
    text: String,
    depth: usize,
}

impl Printer {
    fn fields(&mut self, message: &DynamicMessage) {
        for field in descriptors::declared_fields(&message.descriptor()) {
            if !message.has_field(&field) {
                continue;
            }
            match message.get_field(&field).as_ref() {
                Value::List(values) if !matches!(values.first(), Some(Value::Message(_))) => {
                    self.begin_line();
                    let _ = write!(self.text, "{}: [ ", field.name());
                    for (at, value) in values.iter().enumerate() {
                        self.text.push_str(if at == 0 { "" } else { ", " });
                        self.scalar(&field, value);
                    }
                    self.text.push_str(" ]\n");
                }
                Value::List(values) => values.iter().for_each(|value| self.field(&field, value)),
                Value::Map(entries) => {
                    let mut entries: Vec<_> = entries.iter().collect();
                    entries.sort_by_key(|(key, _)| *key);
                    entries.iter().for_each(|(key, value)| self.entry(&field, key, value));
                }
                value => self.field(&field, value),
            }
        }
    }

    fn entry(&mut self, field: &FieldDescriptor, key: &MapKey, value: &Value) {
        let kind = field.kind();
        let Some(entry) = kind.as_message() else { return };
        self.block(field.name(), |printer| {
            printer.field(&entry.map_entry_key_field(), &key.clone().into());
            printer.field(&entry.map_entry_value_field(), value);
        });
    }

    fn field(&mut self, field: &FieldDescriptor, value: &Value) {
        if let Value::Message(message) = value {
            self.block(field.name(), |printer| printer.fields(message));
        } else {
            self.begin_line();
            let _ = write!(self.text, "{}: ", field.name());
            self.scalar(field, value);
            self.text.push('\n');
        }
    }

    fn block(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.begin_line();
        let _ = writeln!(self.text, "{name} {{");
        self.depth += 1;
        inside(self);
        self.depth -= 1;
        self.begin_line();
        self.text.push_str("}\n");
    }

    fn scalar(&mut self, field: &FieldDescriptor, value: &Value) {
        // Writing into a String cannot fail.
        let _ = match value {
            Value::String(text) => {
                quote(&mut self.text, text);
                Ok(())
            }
            Value::EnumNumber(number) => {
                let kind = field.kind();
                match kind.as_enum().and_then(|values| values.get_value(*number)) {
                    Some(known) => write!(self.text, "{}", known.name()),
                    None => write!(self.text, "{number}"),
                }
            }
            Value::Bool(value) => write!(self.text, "{value}"),
            Value::I32(value) => write!(self.text, "{value}"),
            Value::I64(value) => write!(self.text, "{value}"),
            Value::U32(value) => write!(self.text, "{value}"),
            Value::U64(value) => write!(self.text, "{value}"),
            Value::F32(value) => write!(self.text, "{value:?}"),
            Value::F64(value) => write!(self.text, "{value:?}"),
            other => unreachable!("a config has no scalar like {other:?}"),
        };
    }

    fn begin_line(&mut self) {
        self.text.extend(std::iter::repeat_n("  ", self.depth));
    }
}

fn quote(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            '\0'..='\x1f' | '\x7f' => {
                let _ = write!(text, "\\{:03o}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
    text.push('"');
}
