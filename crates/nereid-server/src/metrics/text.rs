//! Prometheus' text format, line by line as prometheus-cpp writes it (`text_serializer.cc`): count and sum before
//! buckets and quantiles, and `Nan`. Knows no metric.

use std::fmt::{self, Display, Write as _};

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// Labels as they are written, without the braces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Labels(String);

impl Labels {
    /// `pairs` in alphabetical order of their names.
    pub(super) fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_unstable();
        let mut labels = Self::default();
        pairs.into_iter().for_each(|(name, value)| labels.push(name, value));
        labels
    }

    /// With one more label behind the others.
    pub(super) fn with(&self, name: &str, value: impl Display) -> Self {
        let mut labels = self.clone();
        labels.push(name, &value.to_string());
        labels
    }

    fn push(&mut self, name: &str, value: &str) {
        let text = &mut self.0;
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
}

/// A number as Prometheus wants it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub(super) f64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            nan if nan.is_nan() => f.write_str("Nan"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number => write!(f, "{number}"),
        }
    }
}

/// The page on its way.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    /// A family whose first line is still to come.
    head: Option<(&'static str, &'static str, Kind)>,
}

impl Text {
    /// From here on lines belong to this family. One without lines leaves no trace.
    pub(super) fn family(&mut self, name: &'static str, help: &'static str, kind: Kind) {
        self.head = Some((name, help, kind));
    }

    /// `name``suffix``{labels} value`.
    pub(super) fn line(&mut self, name: &str, suffix: &str, labels: &Labels, value: impl Display) {
        let text = &mut self.text;
        let head = self.head.take().map_or(Ok(()), |(name, help, kind)| {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str())
        });
        let line = match labels.0.as_str() {
            "" => writeln!(text, "{name}{suffix} {value}"),
            labels => writeln!(text, "{name}{suffix}{{{labels}}} {value}"),
        };
        head.and(line).expect("a String takes all");
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, expected) in [
            (0.0, "0"),
            (2.0, "2"),
            (268_435_456.0, "268435456"),
            (0.999, "0.999"),
            (1e-5, "0.00001"),
            (f64::NAN, "Nan"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(Number(number).to_string(), expected);
        }
    }

    #[test]
    fn labels_are_sorted_and_escaped() {
        let labels = Labels::new([("version", "1"), ("model", "a\"b\\c\nd'é"), ("_zone", "")]);
        assert_eq!(labels.0, "_zone=\"\",model=\"a\\\"b\\\\c\\nd'é\",version=\"1\"");
        assert_eq!(labels.with("le", Number(0.5)).0, format!("{},le=\"0.5\"", labels.0));
    }

    #[test]
    fn a_family_has_a_head_if_it_has_lines() {
        let mut text = Text::default();
        text.family("a", "none of it", Kind::Counter);
        text.family("b", "B.", Kind::Gauge);
        text.line("b", "", &Labels::default(), 1);
        text.line("b", "_x", &Labels::new([("l", "v")]), 2);
        assert_eq!(text.finish(), "# HELP b B.\n# TYPE b gauge\nb 1\nb_x{l=\"v\"} 2\n");
    }
}
