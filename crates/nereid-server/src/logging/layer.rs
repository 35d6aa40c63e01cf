//! From a `tracing` event to a record. As text it is the message first, then the fields as ` key=value`.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::civil::Civil;
use super::control::LogControl;
use super::format::{self, LogFormat, Preamble};
use super::json;

/// Writes events as Triton writes its log.
#[derive(Debug)]
pub(crate) struct LogLayer {
    control: LogControl,
    process: u32,
}

impl LogLayer {
    pub(super) fn new(control: LogControl) -> Self {
        Self { control, process: std::process::id() }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    // `always` and `never` hold until the settings change, which asks every call site again.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.control.shows(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.control.shows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.control.max_level().map_or(LevelFilter::OFF, LevelFilter::from_level))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let preamble = Preamble {
            level: *metadata.level(),
            time: Civil::now(),
            process: self.process,
            file: metadata.file().unwrap_or_else(|| metadata.target()),
            line: metadata.line().unwrap_or(0),
        };
        let format = self.control.format();
        let mut text = String::with_capacity(256);
        if format == LogFormat::Json {
            json::record(&mut text, &preamble, event);
        } else {
            let mut message = String::new();
            event.record(&mut Fields { message: &mut message, empty: true });
            let iso = format == LogFormat::Iso8601;
            format::record(&mut text, iso, &preamble, &message, self.control.escapes());
        }
        self.control.write(*metadata.level(), &text);
    }
}

/// Collects the fields of an event in one string. `tracing` gives the message first where there is one.
struct Fields<'a> {
    message: &'a mut String,
    empty: bool,
}

impl Fields<'_> {
    fn push(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let space = if self.empty { "" } else { " " };
        self.empty = false;
        // Only a broken `Display` of a value can fail; the rest of the record is still worth writing.
        let _ = match field.name() {
            "message" => write!(self.message, "{space}{value}"),
            name => write!(self.message, "{space}{name}={value}"),
        };
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format_args!("{value:?}"));
    }
}
