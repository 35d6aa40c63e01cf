//! What TensorRT says: handed to a sink, and the last errors kept, since its calls return only null or false.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

use crate::error::TensorRtError;

/// Errors that are kept; a flood pushes the oldest out.
const KEPT: usize = 64;
/// Lines that go with one error.
const ATTACHED: usize = 8;
/// Bytes of a line that are kept.
const LINE_BYTES: usize = 2048;
/// `ErrorCode::kFAILED_ALLOCATION`
const FAILED_ALLOCATION: i32 = 5;

/// `ILogger::Severity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Severity {
    InternalError = 0,
    Error = 1,
    Warning = 2,
    Info = 3,
    Verbose = 4,
}

impl Severity {
    /// What TensorRT numbers so; a number that it does not have today counts as verbose.
    pub(crate) fn from_number(number: i32) -> Self {
        match number {
            0 => Self::InternalError,
            1 => Self::Error,
            2 => Self::Warning,
            3 => Self::Info,
            _ => Self::Verbose,
        }
    }
}

/// Where the lines go. TensorRT calls it from any thread, several at once.
#[derive(Clone)]
pub struct LogSink(Arc<Sink>);

type Sink = dyn Fn(Severity, &str) + Send + Sync;

impl LogSink {
    /// Calls `sink` with every line.
    pub fn new(sink: impl Fn(Severity, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// The program's log, at TensorRT's severity; verbose lines are debug ones.
    pub fn tracing() -> Self {
        Self::new(|severity, line| match severity {
            Severity::InternalError | Severity::Error => tracing::error!(target: "tensorrt", "{line}"),
            Severity::Warning => tracing::warn!(target: "tensorrt", "{line}"),
            Severity::Info => tracing::info!(target: "tensorrt", "{line}"),
            Severity::Verbose => tracing::debug!(target: "tensorrt", "{line}"),
        })
    }
}

impl Default for LogSink {
    fn default() -> Self {
        Self::tracing()
    }
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogSink")
    }
}

/// The log of one library.
#[derive(Debug)]
pub(crate) struct Log {
    sink: LogSink,
    /// How many errors there have been.
    count: AtomicU64,
    errors: Mutex<VecDeque<Line>>,
}

#[derive(Debug)]
struct Line {
    number: u64,
    thread: ThreadId,
    text: String,
    code: Option<i32>,
    /// Whether both the logger and the recorder were told.
    complete: bool,
}

/// A point in a log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(u64);

impl Log {
    pub(crate) fn new(sink: LogSink) -> Self {
        Self { sink, count: AtomicU64::new(0), errors: Mutex::default() }
    }

    /// TensorRT's logger was called.
    pub(crate) fn line(&self, severity: Severity, text: &str) {
        if severity <= Severity::Error {
            self.keep(text, None);
        }
        (self.sink.0)(severity, text.trim_end());
    }

    /// TensorRT's error recorder was called, which may be told what the logger is told.
    pub(crate) fn recorded(&self, code: i32, text: &str) {
        self.keep(text, Some(code));
    }

    /// Now.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.count.load(Ordering::Acquire))
    }

    /// That `call`, made since `mark` by this thread, failed. The lines are those of this thread; if there are none, those
    /// of all, since TensorRT has threads of its own.
    pub(crate) fn failure(&self, call: &'static str, mark: Mark) -> TensorRtError {
        let errors = self.errors.lock();
        let here = thread::current().id();
        let since = || errors.iter().filter(|line| line.number >= mark.0);
        let mut lines: Vec<&Line> = since().filter(|line| line.thread == here).collect();
        if lines.is_empty() {
            lines = since().collect();
        }
        let out_of_memory = lines.iter().any(|line| {
            line.code == Some(FAILED_ALLOCATION)
                || contains_ignoring_case(&line.text, "out of memory")
                || line.text.contains("OutOfMemory")
        });
        let first = lines.len().saturating_sub(ATTACHED);
        let log = lines.into_iter().skip(first).map(|line| line.text.clone()).collect();
        TensorRtError { call, reason: None, log, out_of_memory }
    }

    fn keep(&self, text: &str, code: Option<i32>) {
        let mut text = text.trim();
        if text.len() > LINE_BYTES {
            text = text.split_at(text.floor_char_boundary(LINE_BYTES)).0;
        }
        let thread = thread::current().id();
        let mut errors = self.errors.lock();
        // The same error through the logger and the recorder is one line.
        if let Some(last) = errors.back_mut()
            && last.thread == thread
            && !last.complete
            && last.code.is_some() != code.is_some()
            && (last.text.contains(text) || text.contains(&last.text))
        {
            last.complete = true;
            last.code = last.code.or(code);
            if text.len() > last.text.len() {
                text.clone_into(&mut last.text);
            }
            return;
        }
        if errors.len() == KEPT {
            errors.pop_front();
        }
        let number = self.count.fetch_add(1, Ordering::AcqRel);
        errors.push_back(Line { number, thread, text: text.to_owned(), code, complete: false });
    }
}

fn contains_ignoring_case(text: &str, part: &str) -> bool {
    text.as_bytes().windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}
