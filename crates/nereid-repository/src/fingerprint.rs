//! What a model directory looked like at one moment: enough to tell later whether anything in it has changed, and
//! whether that concerns a version (`ModelTimestamp` in Triton's model_repository_manager.cc, which compares times
//! only). Opens no file.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::disk::ModelDir;

/// File systems count time in ticks of up to 10 ms; two edits within one may look alike.
const TICK: Duration = Duration::from_millis(20);
/// How often a directory that keeps changing is looked at again.
const LOOKS: usize = 3;
/// Deepest nesting of folders that is looked at.
const MAX_DEPTH: usize = 64;

/// Metadata of everything in a model directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    own: Stamp,
    /// By name in the directory: what is there and below.
    entries: BTreeMap<OsString, BTreeMap<PathBuf, Stamp>>,
}

/// Metadata of one file or folder. Whatever is done to it changes at least one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    mode: u32,
    bytes: u64,
    /// Seconds and nanoseconds since the epoch.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    /// Looks at `dir`. Links to folders outside the repository are not followed.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn take(dir: &ModelDir) -> io::Result<Self> {
        let own = Stamp::new(&fs::metadata(&dir.path)?);
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(&dir.path)? {
            let name = entry?.file_name();
            let mut walk = Walk { dir, above: vec![own], found: BTreeMap::new() };
            walk.visit(&dir.path.join(&name));
            entries.insert(name, walk.found);
        }
        Ok(Self { own, entries })
    }

    /// The same, but no later edit can look like what is here: waits, a few ticks at most, until the last edit is
    /// over. `None` if `dir` keeps changing.
    pub(crate) fn settle(mut self, dir: &ModelDir) -> Option<Self> {
        for _ in 0..LOOKS {
            let Some(rest) = self.unsettled(SystemTime::now()) else { return Some(self) };
            thread::sleep(rest);
            self = Self::take(dir).ok()?;
        }
        None
    }

    /// Whether `version` consists of the same files here and in `other`: its folder, and what all versions share,
    /// which is neither a version nor `config`, the entry with the config.
    pub(crate) fn same_version(&self, other: &Self, version: u64, config: &OsStr) -> bool {
        let version = version.to_string();
        let counts = |name: &OsStr| name == version.as_str() || (name != config && !is_version(name));
        let relevant = |of: &Self| {
            let entries = of.entries.iter().filter(|(name, _)| counts(name));
            entries.map(|(name, below)| (name.clone(), below.clone())).collect::<Vec<_>>()
        };
        relevant(self) == relevant(other)
    }

    /// How long until the last edit is a tick ago, if it is not yet at `now`.
    fn unsettled(&self, now: SystemTime) -> Option<Duration> {
        let stamps = self.entries.values().flat_map(BTreeMap::values).chain([&self.own]);
        let (seconds, ns) = stamps.map(|stamp| stamp.modified.max(stamp.changed)).max()?;
        let since_epoch = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(ns).ok()?);
        // Times in the future are another machine's, and there is nothing to wait for.
        let age = now.duration_since(SystemTime::UNIX_EPOCH + since_epoch).ok()?;
        TICK.checked_sub(age).filter(|rest| !rest.is_zero())
    }
}

impl Stamp {
    fn new(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            mode: metadata.mode(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

struct Walk<'a> {
    dir: &'a ModelDir,
    /// The folders around, by which a link into one of them is noticed.
    above: Vec<Stamp>,
    found: BTreeMap<PathBuf, Stamp>,
}

impl Walk<'_> {
    fn visit(&mut self, path: &Path) {
        let Ok(own) = fs::symlink_metadata(path) else { return };
        // A link that leads nowhere counts as itself.
        let metadata = fs::metadata(path).unwrap_or_else(|_| own.clone());
        let stamp = Stamp::new(&metadata);
        self.found.insert(path.to_owned(), stamp);
        let known = self.above.iter().any(|a| (a.device, a.inode) == (stamp.device, stamp.inode));
        let outside = own.is_symlink() && self.dir.confine(path).is_err();
        if !metadata.is_dir() || known || outside || self.above.len() > MAX_DEPTH {
            return;
        }
        let Ok(entries) = fs::read_dir(path) else { return };
        self.above.push(stamp);
        for entry in entries.flatten() {
            self.visit(&entry.path());
        }
        self.above.pop();
    }
}

fn is_version(name: &OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
#[path = "fingerprint_tests.rs"]
mod tests;
