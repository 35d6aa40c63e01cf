//! One record as text. `logging.cc` of Triton's common library is the source of both formats.

use std::fmt::{self, Write};
use std::str::FromStr;

use super::civil::Civil;

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `LMMDD hh:mm:ss.uuuuuu <process> <file>:<line>] <message>`, `L` being I, W or E.
    Default,
    /// `YYYY-MM-DDThh:mm:ssZ L <process> <file>:<line>] <message>`.
    Iso8601,
}

impl LogFormat {
    pub(crate) const HELP: &str = "Form of messages: default starts them with 'LMMDD hh:mm:ss.ssssss', L being the \
                                   level, ISO8601 with 'YYYY-MM-DDThh:mm:ssZ L'.";
}

/// Triton's names: `default` and `ISO8601`, exactly so.
impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Iso8601 => "ISO8601",
        })
    }
}

/// The reverse of `Display`; the error carries nothing, as the caller knows best where the name came from.
impl FromStr for LogFormat {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "default" => Ok(Self::Default),
            "ISO8601" => Ok(Self::Iso8601),
            _ => Err(()),
        }
    }
}

/// What stands before a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preamble<'a> {
    /// `I`, `W` or `E`; verbose messages are `I`.
    pub(super) level: char,
    pub(super) time: Civil,
    pub(super) process: u32,
    /// Path of the source file; its last part is shown.
    pub(super) file: &'a str,
    pub(super) line: u32,
}

/// Appends a record and its line end to `text`.
pub(super) fn record(
    text: &mut String,
    format: LogFormat,
    preamble: &Preamble<'_>,
    message: &str,
    escape: bool,
) {
    let Preamble { level, time: t, process, file, line } = preamble;
    let file = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let written = match format {
        LogFormat::Default => write!(
            text,
            "{level}{:02}{:02} {:02}:{:02}:{:02}.{:06} {process} {file}:{line}] ",
            t.month, t.day, t.hour, t.minute, t.second, t.microsecond
        ),
        LogFormat::Iso8601 => write!(
            text,
            "{}-{:02}-{:02}T{:02}:{:02}:{:02}Z {level} {process} {file}:{line}] ",
            t.year, t.month, t.day, t.hour, t.minute, t.second
        ),
    };
    debug_assert!(written.is_ok(), "writing to a String");
    if escape {
        quote(text, message);
    } else {
        text.push_str(message);
    }
    text.push('\n');
}

/// As a JSON string, the way RapidJSON writes it.
fn quote(text: &mut String, message: &str) {
    text.push('"');
    for c in message.chars() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[track_caller]
    fn check(format: LogFormat, message: &str, escape: bool, expected: &str) {
        let time = Civil::from_unix(Duration::new(1_709_210_096, 7_089_999));
        let preamble = Preamble { level: 'W', time, process: 42, file: "crates/a/src/serve.rs", line: 7 };
        let mut text = String::new();
        record(&mut text, format, &preamble, message, escape);
        assert_eq!(text, expected);
    }

    #[test]
    fn formats() {
        let (default, iso) = (LogFormat::Default, LogFormat::Iso8601);
        check(default, "hello", true, "W0229 12:34:56.007089 42 serve.rs:7] \"hello\"\n");
        check(default, "hello", false, "W0229 12:34:56.007089 42 serve.rs:7] hello\n");
        check(iso, "hello", true, "2024-02-29T12:34:56Z W 42 serve.rs:7] \"hello\"\n");
        check(iso, "", false, "2024-02-29T12:34:56Z W 42 serve.rs:7] \n");
    }

    #[test]
    fn a_message_cannot_fake_a_record() {
        check(
            LogFormat::Default,
            "x\nE0229 \"\\/\t\r\u{8}\u{c}\u{1b}[31m\u{7f}é",
            true,
            "W0229 12:34:56.007089 42 serve.rs:7] \"x\\nE0229 \\\"\\\\/\\t\\r\\b\\f\\u001B[31m\u{7f}é\"\n",
        );
    }

    #[test]
    fn names() {
        for format in [LogFormat::Default, LogFormat::Iso8601] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("iso8601".parse::<LogFormat>(), Err(()));
    }
}
