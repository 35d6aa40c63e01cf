//! A record of named members, in the log's form: a JSON object, or `name=value` behind Triton's preamble.

use std::fmt::{Display, Write};
use std::panic::Location;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::Level;

use super::civil::Civil;
use super::control::LogControl;
use super::format::{self, LogFormat, Preamble};
use super::json::{self, Object, quote};

/// A record on its way. Names are ours and need no escaping; whatever a value holds, it cannot end the record, nor its
/// own place in it.
#[derive(Debug)]
pub(crate) struct Members<'t>(Form<'t>);

#[derive(Debug)]
enum Form<'t> {
    Json(Object<'t>),
    Text(&'t mut String),
}

impl LogControl {
    /// Begins a record of level INFO at the end of `text`, as of `time`.
    #[track_caller]
    pub(crate) fn record<'t>(&self, text: &'t mut String, time: SystemTime, message: &str) -> Members<'t> {
        let place = Location::caller();
        let preamble = Preamble {
            level: Level::INFO,
            time: Civil::from_unix(time.duration_since(UNIX_EPOCH).unwrap_or_default()),
            process: std::process::id(),
            file: place.file(),
            line: place.line(),
        };
        match self.format() {
            LogFormat::Json => Members(Form::Json(json::begin(text, &preamble, message))),
            format => {
                format::begin(text, format == LogFormat::Iso8601, &preamble);
                text.push_str(message);
                Members(Form::Text(text))
            }
        }
    }
}

impl Members<'_> {
    /// A member that is a string.
    pub(crate) fn string(&mut self, name: &str, value: &str) {
        match &mut self.0 {
            Form::Json(object) => object.string(name, value),
            Form::Text(text) => {
                assign(text, name);
                if is_word(value) {
                    text.push_str(value);
                } else {
                    quote(text, value);
                }
            }
        }
    }

    /// A member that is a number, or `true` or `false`.
    pub(crate) fn plain(&mut self, name: &str, value: impl Display) {
        match &mut self.0 {
            Form::Json(object) => object.plain(name, value),
            Form::Text(text) => {
                assign(text, name);
                let written = write!(text, "{value}");
                debug_assert!(written.is_ok(), "writing to a String");
            }
        }
    }

    /// Ends the record.
    pub(crate) fn end(self) {
        match self.0 {
            Form::Json(object) => object.end_line(),
            Form::Text(text) => text.push('\n'),
        }
    }
}

fn assign(text: &mut String, name: &str) {
    text.push(' ');
    text.push_str(name);
    text.push('=');
}

/// What needs no quotes.
fn is_word(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/@+[]".contains(&b))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::LogOptions;
    use super::*;

    fn written(format: LogFormat, value: &str) -> String {
        let log = LogControl::new(&LogOptions { format, ..LogOptions::default() }, false).unwrap();
        let mut text = String::new();
        let mut members = log.record(&mut text, UNIX_EPOCH + Duration::from_secs(1), "access");
        members.string("id", value);
        members.plain("ok", true);
        members.end();
        text
    }

    #[test]
    fn as_text() {
        let rest = |value: &str| written(LogFormat::Default, value).split_once("] ").unwrap().1.to_owned();
        assert_eq!(rest("a-1.b:c/d"), "access id=a-1.b:c/d ok=true\n");
        assert_eq!(rest(""), "access id=\"\" ok=true\n");
        assert_eq!(rest("x ok=false"), "access id=\"x ok=false\" ok=true\n");
        assert_eq!(rest("\"\nI0101 \\"), "access id=\"\\\"\\nI0101 \\\\\" ok=true\n");
        let begin = |format| written(format, "").split_once(" members.rs:").unwrap().0.to_owned();
        let process = std::process::id();
        assert_eq!(begin(LogFormat::Default), format!("I0101 00:00:01.000000 {process}"));
        assert_eq!(begin(LogFormat::Iso8601), format!("1970-01-01T00:00:01Z I {process}"));
    }

    #[test]
    fn as_json() {
        let line = written(LogFormat::Json, "\"}\n{");
        assert_eq!(line.matches('\n').count(), 1);
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&record["message"], &record["id"], &record["ok"]),
            (&"access".into(), &"\"}\n{".into(), &true.into())
        );
        assert_eq!(
            (&record["level"], &record["time"]),
            (&"INFO".into(), &"1970-01-01T00:00:01.000000Z".into())
        );
    }
}
