//! The settings of tracing and how they lie over each other: a model's over the global ones over those of the command
//! line. Pure; the rules are Triton's (`tracer.cc`, `UpdateTraceSettingInternal`).

use super::otlp::OtlpOptions;

/// What is traced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    pub timestamps: bool,
    pub tensors: bool,
}

/// Who takes the traces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// A file in Triton's form.
    #[default]
    Triton,
    /// A collector that speaks OTLP.
    OpenTelemetry,
}

/// The settings that may change while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Values {
    pub level: Level,
    /// One of how many requests is traced.
    pub rate: u32,
    /// How many more requests are traced; below 0 for any number.
    pub count: i32,
    /// Traces per file; 0 for one file.
    pub log_frequency: u32,
}

/// `--trace-config`: the settings at start, and those that stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceOptions {
    pub values: Values,
    /// Where traces go; empty for nowhere. Never changed from the network.
    pub file: String,
    pub mode: Mode,
    /// Other settings of the mode, as given; they are shown to clients.
    pub others: Vec<(String, String)>,
    /// What mode `opentelemetry` makes of them.
    pub otlp: OtlpOptions,
}

/// What to do with one setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Change<T> {
    #[default]
    Keep,
    /// From now on as in the layer below.
    Clear,
    Set(T),
}

/// What to do with all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Update {
    pub level: Change<Level>,
    pub rate: Change<u32>,
    pub count: Change<i32>,
    pub log_frequency: Change<u32>,
}

/// Settings that one layer has of its own; for the others the layer below counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) level: Option<Level>,
    pub(super) rate: Option<u32>,
    pub(super) count: Option<i32>,
    pub(super) log_frequency: Option<u32>,
}

impl Level {
    /// The names of what is on, as clients know them; `OFF` when nothing is.
    pub fn names(self) -> Vec<&'static str> {
        let on = [(self.timestamps, "TIMESTAMPS"), (self.tensors, "TENSORS"), (self.is_off(), "OFF")];
        on.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect()
    }

    /// Whether nothing is traced.
    pub fn is_off(self) -> bool {
        self == Self::default()
    }

    /// What is on in either.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { timestamps: self.timestamps | other.timestamps, tensors: self.tensors | other.tensors }
    }
}

impl Mode {
    /// As clients know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Triton => "triton",
            Self::OpenTelemetry => "opentelemetry",
        }
    }
}

/// Triton's defaults.
impl Default for Values {
    fn default() -> Self {
        Self { level: Level::default(), rate: 1000, count: -1, log_frequency: 0 }
    }
}

impl TraceOptions {
    /// Why `values` trace nothing, in Triton's words; an empty one is Triton's word for a count of 0.
    pub(super) fn refusal(&self, values: &Values) -> Option<&'static str> {
        if values.level.is_off() {
            Some("tracing is disabled")
        } else if values.rate == 0 && self.mode == Mode::Triton {
            Some("sample rate must be non-zero")
        } else if self.file.is_empty() && self.mode == Mode::Triton {
            Some("trace file name is not given")
        } else {
            (values.count == 0).then_some("")
        }
    }
}

impl<T: Copy> Change<T> {
    fn of(self, own: Option<T>) -> Option<T> {
        match self {
            Self::Keep => own,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl Layer {
    pub(super) fn updated(&self, update: &Update) -> Self {
        Self {
            level: update.level.of(self.level),
            rate: update.rate.of(self.rate),
            count: update.count.of(self.count),
            log_frequency: update.log_frequency.of(self.log_frequency),
        }
    }

    pub(super) fn over(&self, below: &Values) -> Values {
        Values {
            level: self.level.unwrap_or(below.level),
            rate: self.rate.unwrap_or(below.rate),
            count: self.count.unwrap_or(below.count),
            log_frequency: self.log_frequency.unwrap_or(below.log_frequency),
        }
    }

    /// Whether the layer below counts for everything.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMESTAMPS: Level = Level { timestamps: true, tensors: false };
    const TENSORS: Level = Level { timestamps: false, tensors: true };

    #[test]
    fn levels() {
        for (level, names) in [
            (Level::default(), &["OFF"][..]),
            (TIMESTAMPS, &["TIMESTAMPS"]),
            (TENSORS, &["TENSORS"]),
            (TIMESTAMPS.and(TENSORS), &["TIMESTAMPS", "TENSORS"]),
        ] {
            assert_eq!(level.names(), names);
        }
    }

    #[test]
    fn layers() {
        let start = Values::default();
        let empty = Layer::default();
        let set = Update { rate: Change::Set(5), count: Change::Set(9), ..Update::default() };
        let own = empty.updated(&set);
        assert_eq!(own.over(&start), Values { rate: 5, count: 9, ..start });
        assert_eq!(
            own.over(&Values { log_frequency: 3, ..start }).log_frequency,
            3,
            "mirrors the layer below"
        );
        let cleared = own.updated(&Update { rate: Change::Clear, ..Update::default() });
        assert_eq!(cleared.over(&Values { rate: 7, ..start }), Values { rate: 7, count: 9, ..start });
        let kept = cleared.updated(&Update::default());
        assert_eq!((kept, kept.is_empty()), (cleared, false));
        assert!(cleared.updated(&Update { count: Change::Clear, ..Update::default() }).is_empty());
        let level = Update { level: Change::Set(Level::default()), ..Update::default() };
        assert_eq!(empty.updated(&level).over(&Values { level: TENSORS, ..start }).level, Level::default());
    }

    #[test]
    fn what_is_refused() {
        let values = Values { level: TIMESTAMPS, ..Values::default() };
        let options = TraceOptions { file: "f".to_owned(), ..TraceOptions::default() };
        let otel = TraceOptions { mode: Mode::OpenTelemetry, ..TraceOptions::default() };
        for (options, values, expected) in [
            (&options, values, None),
            (&options, Values { count: -7, ..values }, None),
            (&options, Values::default(), Some("tracing is disabled")),
            (&options, Values { rate: 0, ..values }, Some("sample rate must be non-zero")),
            (&TraceOptions::default(), values, Some("trace file name is not given")),
            (&otel, values, None),
            (&otel, Values { rate: 0, ..values }, None), // only requests that belong to a client's trace
            (&otel, Values { count: 0, ..values }, Some("")),
            (&otel, Values::default(), Some("tracing is disabled")),
            (&options, Values { count: 0, ..values }, Some("")),
        ] {
            assert_eq!(options.refusal(&values), expected, "{values:?}");
        }
    }
}
