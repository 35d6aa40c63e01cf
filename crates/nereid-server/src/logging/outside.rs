//! What is said outside of the log, in the log's form: before it exists, when it goes elsewhere, and by a panic. In
//! Triton's formats these are plain text; with `json` each is a record like any other.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::panic::{self, Location, PanicHookInfo};

use tracing::Level;

use super::civil::Civil;
use super::control::LogControl;
use super::format::{LogFormat, Preamble};
use super::json;

/// Writes `message` to the standard error. What cannot be written is lost.
#[track_caller]
pub fn complain(format: LogFormat, message: &str) {
    let mut text = String::new();
    match format {
        LogFormat::Json => json::begin(&mut text, &preamble(Location::caller()), message).end_line(),
        LogFormat::Default | LogFormat::Iso8601 => {
            text.push_str(message);
            text.push('\n');
        }
    }
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// From now on the panics of this process are records while the log is `json`; otherwise they look as before.
pub(super) fn record_panics(log: LogControl) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| match log.format() {
        LogFormat::Json => log.write(Level::ERROR, &record(panic)),
        LogFormat::Default | LogFormat::Iso8601 => before(panic),
    }));
}

fn record(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map_or_else(|| preamble(Location::caller()), preamble);
    let thread = std::thread::current();
    let what = panic.payload_as_str().unwrap_or("no message");
    let message = format!("thread '{}' panicked: {what}", thread.name().unwrap_or("<unnamed>"));
    let mut text = String::new();
    let mut object = json::begin(&mut text, &place, &message);
    let backtrace = Backtrace::capture(); // disabled without RUST_BACKTRACE
    if backtrace.status() == BacktraceStatus::Captured {
        let mut frames = String::new();
        let _ = write!(frames, "{backtrace}"); // a String takes everything
        object.string("backtrace", &frames);
    }
    object.end_line();
    text
}

fn preamble<'l>(place: &'l Location<'_>) -> Preamble<'l> {
    Preamble {
        level: Level::ERROR,
        time: Civil::now(),
        process: std::process::id(),
        file: place.file(),
        line: place.line(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{LogChange, LogOptions};
    use super::*;

    #[test]
    fn a_panic_is_a_record() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        let options =
            LogOptions { file: Some(file.clone()), format: LogFormat::Json, ..LogOptions::default() };
        let log = LogControl::new(&options, true).unwrap();
        record_panics(log.clone());
        let panicked = |what: &'static str| {
            let thread = std::thread::Builder::new().name("the \"thread\"".to_owned());
            assert!(thread.spawn(move || panic!("{what}\n{{")).unwrap().join().is_err());
        };
        panicked("a first");
        log.change(&LogChange { format: Some(LogFormat::Default), ..LogChange::default() });
        panicked("a second");
        drop(panic::take_hook());
        let text = fs::read_to_string(file).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        // Other tests may panic meanwhile.
        let ours: Vec<_> =
            records.filter(|record| record["message"].as_str().unwrap().contains('"')).collect();
        let [record] = &ours[..] else { panic!("{ours:?}") };
        assert_eq!(record["message"], "thread 'the \"thread\"' panicked: a first\n{");
        assert!(record["source"].as_str().unwrap().starts_with("outside.rs:"), "{record}");
        assert_eq!(record["level"], "ERROR");
    }
}
