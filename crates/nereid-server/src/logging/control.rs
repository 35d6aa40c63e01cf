//! The live settings of the log and where it goes. Which events exist is decided here, what they look like is not.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nereid_core::{Error, Result};
use parking_lot::Mutex;
use tracing::{Level, Metadata};

use super::layer::LogLayer;
use super::{LogFormat, LogOptions};

/// Reads and changes the settings of the log while the server runs. Clones share them.
#[derive(Debug, Clone)]
pub struct LogControl {
    shared: Arc<Shared>,
}

/// What may change while the server runs; `None` stays as it is. The file is not among it, see
/// [`file_is_fixed`](super::file_is_fixed).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogChange {
    pub info: Option<bool>,
    pub warning: Option<bool>,
    pub error: Option<bool>,
    pub verbose: Option<u32>,
    pub format: Option<LogFormat>,
}

#[derive(Debug)]
struct Shared {
    /// All settings but the file in one word (see [`pack`]), so that a change is seen whole.
    settings: AtomicU64,
    /// Messages are quoted and escaped.
    escape: bool,
    file: Mutex<Option<(PathBuf, File)>>,
}

impl LogControl {
    /// Settings that are in use by nothing yet.
    ///
    /// # Errors
    /// The log file cannot be opened.
    pub(crate) fn new(options: &LogOptions, escape: bool) -> Result<Self> {
        let file = options.file.as_deref().map(open).transpose()?;
        let settings = AtomicU64::new(pack(options));
        Ok(Self { shared: Arc::new(Shared { settings, escape, file: Mutex::new(file) }) })
    }

    /// Triton's defaults, in use by nothing: for a server inside a process that logs in its own way.
    pub fn detached() -> Self {
        let settings = AtomicU64::new(pack(&LogOptions::default()));
        Self { shared: Arc::new(Shared { settings, escape: true, file: Mutex::new(None) }) }
    }

    /// The layer that writes by these settings.
    pub(crate) fn layer(&self) -> LogLayer {
        LogLayer::new(self.clone())
    }

    /// The settings as they are now.
    pub fn options(&self) -> LogOptions {
        let file = self.shared.file.lock().as_ref().map(|(path, _)| path.clone());
        LogOptions { file, ..unpack(self.shared.settings.load(Ordering::Relaxed)) }
    }

    /// Changes what `change` has, at once for all threads.
    pub fn change(&self, change: &LogChange) {
        let changing = self.shared.file.lock(); // two changes at a time must not undo each other
        let old = unpack(self.shared.settings.load(Ordering::Relaxed));
        let new = LogOptions {
            info: change.info.unwrap_or(old.info),
            warning: change.warning.unwrap_or(old.warning),
            error: change.error.unwrap_or(old.error),
            verbose: change.verbose.unwrap_or(old.verbose),
            format: change.format.unwrap_or(old.format),
            file: None,
        };
        self.shared.settings.store(pack(&new), Ordering::Relaxed);
        drop(changing);
        // Call sites remember whether they are enabled.
        tracing::callsite::rebuild_interest_cache();
    }

    /// The form of records now.
    pub fn format(&self) -> LogFormat {
        unpack(self.shared.settings.load(Ordering::Relaxed)).format
    }

    pub(super) fn escapes(&self) -> bool {
        self.shared.escape
    }

    /// The most detailed level that can be enabled now.
    pub(super) fn max_level(&self) -> Option<Level> {
        let LogOptions { info, warning, error, verbose, .. } =
            unpack(self.shared.settings.load(Ordering::Relaxed));
        match verbose {
            0 if info => Some(Level::INFO),
            0 if warning => Some(Level::WARN),
            0 => error.then_some(Level::ERROR),
            1 => Some(Level::DEBUG),
            _ => Some(Level::TRACE),
        }
    }

    /// Whether events of `metadata` are written. Crates that are not Nereid's are shown from WARN on; the rest of
    /// what they say starts at verbose level 2, one level later than our own.
    pub(super) fn shows(&self, metadata: &Metadata<'_>) -> bool {
        let LogOptions { info, warning, error, verbose, .. } =
            unpack(self.shared.settings.load(Ordering::Relaxed));
        let ours = metadata.target().starts_with("nereid");
        let of_verbose = |level: u32| verbose >= if ours { level } else { level + 1 };
        metadata.is_event()
            && match *metadata.level() {
                Level::ERROR => error,
                Level::WARN => warning,
                Level::INFO => info && (ours || verbose >= 2),
                Level::DEBUG => of_verbose(1),
                Level::TRACE => of_verbose(2),
            }
    }

    /// Whether errors are seen on the standard error.
    pub fn shows_errors(&self) -> bool {
        let options = self.options();
        options.error && options.file.is_none()
    }

    /// Writes whole lines of the access log, which no level switches off.
    pub(crate) fn write_access(&self, lines: &str) {
        self.write(Level::INFO, lines);
    }

    /// Writes a whole record. What cannot be written (a full disk, a closed pipe) is lost: logging must never
    /// stop the server, and there is no better place to complain.
    pub(super) fn write(&self, level: Level, record: &str) {
        let _ = match self.shared.file.lock().as_mut() {
            Some((_, file)) => file.write_all(record.as_bytes()),
            None if level <= Level::WARN => io::stderr().lock().write_all(record.as_bytes()),
            None => io::stdout().lock().write_all(record.as_bytes()),
        };
    }
}

fn open(path: &Path) -> Result<(PathBuf, File)> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    let file = file
        .map_err(|error| Error::internal(format!(
            "Failed to open log file '{}': {error}; --log-file must be in a folder that the server's user may write to, such \
             as a mounted volume",
            path.display()
        )))?;
    Ok((path.to_owned(), file))
}

fn pack(options: &LogOptions) -> u64 {
    u64::from(options.info)
        | u64::from(options.warning) << 1
        | u64::from(options.error) << 2
        | (options.format as u64) << 3
        | u64::from(options.verbose) << 32
}

fn unpack(settings: u64) -> LogOptions {
    let bit = |n: u32| settings >> n & 1 == 1;
    LogOptions {
        info: bit(0),
        warning: bit(1),
        error: bit(2),
        format: match settings >> 3 & 3 {
            1 => LogFormat::Iso8601,
            2 => LogFormat::Json,
            _ => LogFormat::Default,
        },
        verbose: (settings >> 32) as u32,
        file: None,
    }
}
