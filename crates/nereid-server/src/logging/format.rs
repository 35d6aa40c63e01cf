//! One record as text. `logging.cc` of Triton's common library is the source of both formats.

use std::fmt::{self, Write};
use std::str::FromStr;

use tracing::Level;

use super::civil::Civil;
use super::json::quote;

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    // The numbers are those of `pack` in `control.rs`.
    /// `LMMDD hh:mm:ss.uuuuuu <process> <file>:<line>] <message>`, `L` being I, W or E.
    Default = 0,
    /// `YYYY-MM-DDThh:mm:ssZ L <process> <file>:<line>] <message>`.
    Iso8601 = 1,
    /// A JSON object per line, see `json.rs`. Triton does not have it.
    Json = 2,
}

impl LogFormat {
    pub(crate) const HELP: &str = "Form of messages: default starts them with 'LMMDD hh:mm:ss.ssssss', L being the \
                                   level, ISO8601 with 'YYYY-MM-DDThh:mm:ssZ L'; json makes each a JSON object.";
}

/// Triton's names, `default` and `ISO8601`, exactly so; and `json`.
impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Iso8601 => "ISO8601",
            Self::Json => "json",
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
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// What stands before a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preamble<'a> {
    pub(super) level: Level,
    pub(super) time: Civil,
    pub(super) process: u32,
    /// Path of the source file; its last part is shown.
    pub(super) file: &'a str,
    pub(super) line: u32,
}

impl Preamble<'_> {
    /// Name of the source file, without its folders.
    pub(super) fn file_name(&self) -> &str {
        self.file.rsplit(['/', '\\']).next().unwrap_or(self.file)
    }
}

/// Appends a record in one of Triton's two formats, and its line end, to `text`.
pub(super) fn record(text: &mut String, iso: bool, preamble: &Preamble<'_>, message: &str, escape: bool) {
    begin(text, iso, preamble);
    if escape {
        quote(text, message);
    } else {
        text.push_str(message);
    }
    text.push('\n');
}

/// Appends what stands before a message.
pub(super) fn begin(text: &mut String, iso: bool, preamble: &Preamble<'_>) {
    let Preamble { level, time: t, process, line, .. } = preamble;
    let (level, file) = (letter(*level), preamble.file_name());
    let written = if iso {
        write!(
            text,
            "{}-{:02}-{:02}T{:02}:{:02}:{:02}Z {level} {process} {file}:{line}] ",
            t.year, t.month, t.day, t.hour, t.minute, t.second
        )
    } else {
        write!(
            text,
            "{level}{:02}{:02} {:02}:{:02}:{:02}.{:06} {process} {file}:{line}] ",
            t.month, t.day, t.hour, t.minute, t.second, t.microsecond
        )
    };
    debug_assert!(written.is_ok(), "writing to a String");
}

/// Verbose messages are `I`.
fn letter(level: Level) -> char {
    match level {
        Level::ERROR => 'E',
        Level::WARN => 'W',
        _ => 'I',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[track_caller]
    fn check(iso: bool, message: &str, escape: bool, expected: &str) {
        let time = Civil::from_unix(Duration::new(1_709_210_096, 7_089_999));
        let preamble =
            Preamble { level: Level::WARN, time, process: 42, file: "crates/a/src/serve.rs", line: 7 };
        let mut text = String::new();
        record(&mut text, iso, &preamble, message, escape);
        assert_eq!(text, expected);
    }

    #[test]
    fn formats() {
        let (default, iso) = (false, true);
        check(default, "hello", true, "W0229 12:34:56.007089 42 serve.rs:7] \"hello\"\n");
        check(default, "hello", false, "W0229 12:34:56.007089 42 serve.rs:7] hello\n");
        check(iso, "hello", true, "2024-02-29T12:34:56Z W 42 serve.rs:7] \"hello\"\n");
        check(iso, "", false, "2024-02-29T12:34:56Z W 42 serve.rs:7] \n");
    }

    #[test]
    fn a_message_cannot_fake_a_record() {
        check(
            false,
            "x\nE0229 \"\\/\t\r\u{8}\u{c}\u{1b}[31m\u{7f}é",
            true,
            "W0229 12:34:56.007089 42 serve.rs:7] \"x\\nE0229 \\\"\\\\/\\t\\r\\b\\f\\u001B[31m\u{7f}é\"\n",
        );
    }

    #[test]
    fn names() {
        for format in [LogFormat::Default, LogFormat::Iso8601, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("iso8601".parse::<LogFormat>(), Err(()));
        assert_eq!("JSON".parse::<LogFormat>(), Err(()));
    }
}
