//! One record as a JSON object on a line of its own, for collectors of logs: `time` (RFC 3339, UTC), `level`, for verbose
//! messages `verbose_level`, `message`, `source`, `process`, and under `fields` what the event has beside its message.

use std::fmt::{self, Display, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::format::Preamble;

/// A JSON object on its way. Names are ours and need no escaping.
#[derive(Debug)]
pub(super) struct Object<'t> {
    text: &'t mut String,
    empty: bool,
}

impl<'t> Object<'t> {
    /// Begins an object at the end of `text`.
    pub(super) fn begin(text: &'t mut String) -> Self {
        text.push('{');
        Self { text, empty: true }
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.empty) {
            self.text.push(',');
        }
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
    }

    /// A member that is a string.
    pub(super) fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        quote(self.text, value);
    }

    /// A member whose `value` is JSON as it displays itself: a number, `true`, `false`, or an object.
    pub(super) fn plain(&mut self, name: &str, value: impl Display) {
        self.name(name);
        let written = write!(self.text, "{value}");
        debug_assert!(written.is_ok(), "writing to a String");
    }

    /// Ends the object.
    #[cfg(test)]
    fn end(self) {
        self.text.push('}');
    }

    /// Ends the object and its line.
    pub(super) fn end_line(self) {
        self.text.push_str("}\n");
    }
}

/// Begins a record: everything that each has.
pub(super) fn begin<'t>(text: &'t mut String, preamble: &Preamble<'_>, message: &str) -> Object<'t> {
    let Preamble { level, time: t, process, line, .. } = preamble;
    let (name, verbose_level) = match *level {
        Level::ERROR => ("ERROR", None),
        Level::WARN => ("WARNING", None),
        Level::INFO => ("INFO", None),
        Level::DEBUG => ("DEBUG", Some(1)),
        Level::TRACE => ("TRACE", Some(2)),
    };
    let mut object = Object::begin(text);
    object.plain(
        "time",
        format_args!(
            "\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z\"",
            t.year, t.month, t.day, t.hour, t.minute, t.second, t.microsecond
        ),
    );
    object.string("level", name);
    if let Some(level) = verbose_level {
        object.plain("verbose_level", level);
    }
    object.string("message", message);
    object.string("source", &format!("{}:{line}", preamble.file_name()));
    object.plain("process", process);
    object
}

/// Appends the record of `event`, and its line end, to `text`.
pub(super) fn record(text: &mut String, preamble: &Preamble<'_>, event: &Event<'_>) {
    let mut members = Members::default();
    event.record(&mut members);
    let mut object = begin(text, preamble, &members.message);
    if !members.fields.is_empty() {
        members.fields.push('}');
        object.plain("fields", &members.fields);
    }
    object.end_line();
}

/// Appends `value` as a JSON string, the way RapidJSON writes it.
pub(super) fn quote(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c < ' ' => text.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
}

/// The message of an event, and its fields as an object that is still open.
#[derive(Default)]
struct Members {
    message: String,
    fields: String,
}

impl Members {
    fn push(&mut self, field: &Field, value: impl Display) {
        self.add(field.name(), |text| {
            let written = write!(text, "{value}");
            debug_assert!(written.is_ok(), "writing to a String");
        });
    }

    fn add(&mut self, name: &str, value: impl FnOnce(&mut String)) {
        self.fields.push(if self.fields.is_empty() { '{' } else { ',' });
        quote(&mut self.fields, name); // `tracing` lets a name be any string
        self.fields.push(':');
        value(&mut self.fields);
    }
}

impl Visit for Members {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            name => self.add(name, |text| quote(text, value)),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Only a broken `Debug` of a value can fail; the rest of the record is still worth writing.
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            let mut text = String::new();
            let _ = write!(text, "{value:?}");
            self.record_str(field, &text);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.push(field, value);
        } else {
            self.record_str(field, &value.to_string()); // JSON has no such numbers
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::civil::Civil;
    use super::*;

    fn written(level: Level, message: &str) -> String {
        let time = Civil::from_unix(Duration::new(1_709_210_096, 7_089_999));
        let preamble = Preamble { level, time, process: 42, file: "crates/a/src/serve.rs", line: 7 };
        let mut text = String::new();
        begin(&mut text, &preamble, message).end();
        text
    }

    #[test]
    fn records() {
        let time = r#"{"time":"2024-02-29T12:34:56.007089Z""#;
        let rest = r#""source":"serve.rs:7","process":42}"#;
        for (level, name) in [
            (Level::ERROR, r#""ERROR""#),
            (Level::WARN, r#""WARNING""#),
            (Level::INFO, r#""INFO""#),
            (Level::DEBUG, r#""DEBUG","verbose_level":1"#),
            (Level::TRACE, r#""TRACE","verbose_level":2"#),
        ] {
            let expected = format!(r#"{time},"level":{name},"message":"hello",{rest}"#);
            assert_eq!(written(level, "hello"), expected);
        }
    }

    #[test]
    fn any_message_is_one_line_that_parses() {
        let all: String = (0..0x3000).filter_map(char::from_u32).chain(['\u{ffff}', '😀']).collect();
        for message in ["", "\"},{\"level\":\"ERROR\"", "a\nb\r\n\u{1b}[31m\0\u{7f}\\u0041\\", &all] {
            let line = written(Level::INFO, message);
            assert!(!line.contains(|c: char| c < ' '), "{line}");
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["message"], message);
        }
    }
}
