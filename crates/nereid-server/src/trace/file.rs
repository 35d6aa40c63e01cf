//! The trace files: `<file>`, which grows while the server runs and is whole JSON once it is closed, and `<file>.0`,
//! `<file>.1`, … which are written at once. What cannot be written is lost and said once in the log.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

/// Writes traces to files beginning with one path.
#[derive(Debug)]
pub(super) struct TraceFile {
    path: PathBuf,
    next_index: u32,
    plain: Option<Plain>,
    /// The last attempt failed, and the log says so.
    failing: bool,
}

/// `<file>`, open.
#[derive(Debug)]
struct Plain {
    file: File,
    /// Bytes up to the end of the last trace.
    whole: u64,
}

impl TraceFile {
    /// Nothing is opened yet. If nothing can be written there, the log says so now: it may take long until there is a trace.
    pub(super) fn new(path: PathBuf) -> Self {
        if let Err(e) = try_out(&path) {
            tracing::warn!(
                "traces cannot be written to '{}': {e}; it must be in a folder that the server's user may write to, such as a \
                 mounted volume",
                path.display()
            );
        }
        Self { path, next_index: 0, plain: None, failing: false }
    }

    /// Writes `traces` to the next file with an index. An older file of that name is replaced.
    pub(super) fn save_indexed(&mut self, traces: &[u8]) {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{}", self.next_index));
        self.next_index = self.next_index.wrapping_add(1);
        let path = PathBuf::from(path);
        let result = File::create(&path).and_then(|mut file| {
            file.write_all(b"[")?;
            file.write_all(traces)?;
            file.write_all(b"]")
        });
        self.report(&path, result);
    }

    /// Appends `traces` to `<file>`. The first call replaces an older one.
    pub(super) fn save_plain(&mut self, traces: &[u8]) {
        let result = self.append(traces);
        let path = self.path.clone();
        self.report(&path, result);
    }

    /// Makes `<file>` whole, if it was written to.
    pub(super) fn close(&mut self) {
        if let Some(mut plain) = self.plain.take() {
            let result = plain.file.write_all(b"]");
            let path = self.path.clone();
            self.report(&path, result);
        }
    }

    fn append(&mut self, traces: &[u8]) -> io::Result<()> {
        let plain = match &mut self.plain {
            Some(plain) => plain,
            None => self.plain.insert(Plain { file: File::create(&self.path)?, whole: 0 }),
        };
        let delimiter: &[u8] = if plain.whole == 0 { b"[" } else { b"," };
        let written = plain.file.write_all(delimiter).and_then(|()| plain.file.write_all(traces));
        if written.is_ok() {
            plain.whole += (delimiter.len() + traces.len()) as u64;
        } else {
            plain.cut(); // half a trace would spoil the file
            if plain.whole == 0 {
                self.plain = None;
            }
        }
        written
    }

    fn report(&mut self, path: &Path, result: io::Result<()>) {
        match result {
            Ok(()) => self.failing = false,
            Err(_) if self.failing => {}
            Err(error) => {
                self.failing = true;
                tracing::error!("failed creating trace file: '{}': {error}", path.display());
            }
        }
    }
}

impl Plain {
    /// Takes back what was written of a trace. Not every file can be cut; then it stays as it is.
    fn cut(&mut self) {
        let _ = self.file.set_len(self.whole).and_then(|()| self.file.seek(io::SeekFrom::Start(self.whole)));
    }
}

impl Drop for TraceFile {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether a file at `path` can be written. Leaves what is there as it is, and opens nothing that may wait, such as a FIFO.
fn try_out(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => File::options().append(true).open(path).map(drop),
        Ok(_) => Ok(()),
        Err(_) => File::create_new(path).and_then(|_| fs::remove_file(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_brackets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        fs::write(folder.path().join("trace.json.1"), "an older and longer file").unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        let mut file = TraceFile::new(path.clone());
        file.save_indexed(b"1,2");
        assert_eq!((read("trace.json"), read("trace.json.0").as_deref()), (None, Some("[1,2]")));
        file.save_plain(b"3");
        file.save_indexed(b"4");
        file.save_plain(b"5,6");
        assert_eq!(
            (read("trace.json").as_deref(), read("trace.json.1").as_deref()),
            (Some("[3,5,6"), Some("[4]"))
        );
        drop(file);
        assert_eq!((read("trace.json").as_deref(), read("trace.json.2")), (Some("[3,5,6]"), None));
        TraceFile::new(path).save_plain(b"7");
        assert_eq!(read("trace.json").as_deref(), Some("[7]"));
    }

    #[test]
    fn trying_out_leaves_everything_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        try_out(&path).unwrap();
        assert!(!path.exists());
        fs::write(&path, "older").unwrap();
        try_out(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "older");
        try_out(Path::new("/dev/full")).unwrap();
        try_out(&folder.path().join("absent/trace.json")).unwrap_err();
    }

    #[test]
    fn what_cannot_be_written_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later/trace.json");
        let mut file = TraceFile::new(path.clone());
        file.save_plain(b"1");
        file.save_indexed(b"2");
        assert!(file.failing);
        fs::create_dir(folder.path().join("later")).unwrap();
        file.save_plain(b"3");
        assert!(!file.failing);
        file.close();
        assert_eq!(fs::read_to_string(path).unwrap(), "[3]");
        // Linux's disk that is always full.
        if Path::new("/dev/full").exists() {
            let mut full = TraceFile::new("/dev/full".into());
            full.save_plain(b"1");
            assert!(full.failing && full.plain.is_none());
        }
    }
}
