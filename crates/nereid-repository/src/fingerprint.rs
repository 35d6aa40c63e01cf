//! What a model directory looked like at one moment: enough to tell later whether anything in it has changed, and
//! whether that concerns a version (`ModelTimestamp` in Triton's model_repository_manager.cc, which compares times
//! only). Opens no file.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::disk::ModelDir;

/// File systems count time in ticks of up to 10 ms; two edits within one may look alike.
const TICK: Duration = Duration::from_millis(20);
/// How often a directory that keeps changing is looked at again.
const LOOKS: usize = 3;

/// Metadata of everything in a model directory.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            let found = walk(dir, own, dir.path.join(&name));
            entries.insert(name, found);
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
        let counts = |(name, _): &(&OsString, &BTreeMap<PathBuf, Stamp>)| {
            **name == *version || (*name != config && !is_version(name))
        };
        self.entries.iter().filter(counts).eq(other.entries.iter().filter(counts))
    }

    /// How long until the last edit is a tick ago, if it is not yet at `now`. Only the system sets the time of the
    /// last change; that of the last modification is whatever `touch` or `tar` say.
    fn unsettled(&self, now: SystemTime) -> Option<Duration> {
        let stamps = self.entries.values().flat_map(BTreeMap::values).chain([&self.own]);
        let rests = stamps.filter_map(|stamp| {
            let (seconds, ns) = stamp.changed;
            let since_epoch = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(ns).ok()?);
            // Times in the future are another machine's, and there is nothing to wait for.
            let age = now.duration_since(SystemTime::UNIX_EPOCH + since_epoch).ok()?;
            TICK.checked_sub(age).filter(|rest| !rest.is_zero())
        });
        rests.max()
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

/// Everything at and below `start`, which is in `dir`, whose stamp is `own`. Each folder is looked into once, however
/// many links lead to it: they may form loops, and more paths than anybody could walk.
fn walk(dir: &ModelDir, own: Stamp, start: PathBuf) -> BTreeMap<PathBuf, Stamp> {
    let mut found = BTreeMap::new();
    let mut folders = HashSet::from([(own.device, own.inode)]);
    let mut paths = vec![start];
    while let Some(path) = paths.pop() {
        let Ok(own) = fs::symlink_metadata(&path) else { continue };
        // A link that leads nowhere counts as itself.
        let metadata = fs::metadata(&path).unwrap_or_else(|_| own.clone());
        let stamp = Stamp::new(&metadata);
        let outside = || own.is_symlink() && dir.confine(&path).is_err();
        if metadata.is_dir()
            && !outside()
            && folders.insert((stamp.device, stamp.inode))
            && let Ok(entries) = fs::read_dir(&path)
        {
            paths.extend(entries.flatten().map(|entry| entry.path()));
        }
        found.insert(path, stamp);
    }
    found
}

fn is_version(name: &OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
#[path = "fingerprint_tests.rs"]
mod tests;
