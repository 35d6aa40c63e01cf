//! The repository folders: which models are there, and reading their small files.
//!
//! Paths stay as the user wrote them, because messages show them; what they resolve to must lie inside
//! the repository. Nothing here knows what the files mean.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nereid_core::{Error, Result};
use tempfile::TempDir;

use crate::ModelId;

/// Most bytes that a config or label file may have.
pub(crate) const MAX_TEXT_BYTES: u64 = 16 << 20;

/// What a file system keeps in its root, and a volume of models is one: no model.
const LOST_AND_FOUND: &str = "lost+found";

/// One repository folder. It may be a link that is moved to another folder at any time.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    path: PathBuf,
    /// Of its models.
    pub(crate) namespace: Arc<str>,
}

/// A model's folder, known to lie inside its repository.
#[derive(Debug, Clone)]
pub(crate) struct ModelDir {
    pub(crate) path: PathBuf,
    root: PathBuf,
    /// Goes with its last user, if it was made for one load.
    #[expect(dead_code, reason = "held, never used")]
    temporary: Option<Arc<TempDir>>,
}

impl Root {
    /// Opens a repository folder, which with `namespacing` is a namespace of its own.
    ///
    /// # Errors
    /// It does not exist or is not a directory (`ModelRepositoryManager::Create`).
    pub(crate) fn open(path: &Path, namespacing: bool) -> Result<Self> {
        if !canonical(path)?.is_dir() {
            return Err(Error::invalid_arg(format!(
                "repository path is not a valid directory: '{}'",
                path.display()
            )));
        }
        let namespace = if namespacing { path.to_string_lossy() } else { "".into() };
        Ok(Self { path: path.to_owned(), namespace: namespace.into() })
    }

    /// Names of the model folders, sorted. Hidden entries, files and links that lead out are left out.
    pub(crate) fn models(&self) -> Result<BTreeSet<String>> {
        let names = subdirectories(&self.path)?.into_iter().filter(|name| match self.model(name) {
            Ok(found) => found.is_some(),
            Err(e) => {
                tracing::warn!("ignore model directory '{}': {e}", self.path.join(name).display());
                false
            }
        });
        Ok(names.collect())
    }

    /// The folder of model `name`, or `None` if this repository has none. Hidden folders and `lost+found` are no models.
    ///
    /// # Errors
    /// The folder is a link that leaves the repository, or the repository is gone.
    pub(crate) fn model(&self, name: &str) -> Result<Option<ModelDir>> {
        let path = self.path.join(name);
        let mut parts = Path::new(name).components();
        let is_name = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
        if !is_name || name.starts_with('.') || name == LOST_AND_FOUND || !path.is_dir() {
            return Ok(None);
        }
        let dir = ModelDir { path, root: canonical(&self.path)?, temporary: None };
        dir.confine(&dir.path)?;
        Ok(Some(dir))
    }
}

impl ModelDir {
    /// A folder that is a repository of its own and is deleted when nobody uses it any more.
    ///
    /// # Errors
    /// It does not exist.
    pub(crate) fn temporary(folder: Arc<TempDir>) -> Result<Self> {
        let path = canonical(folder.path())?;
        Ok(Self { root: path.clone(), path, temporary: Some(folder) })
    }

    /// Where `name` is in `folder` of this directory; `None` if it would leave the directory, by its text or
    /// by a link. It need not exist.
    pub(crate) fn inside(&self, folder: &str, name: &str) -> Option<PathBuf> {
        let stays = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        let path = self.path.join(folder).join(name);
        if !Path::new(name).components().all(stays) {
            return None;
        }
        match (path.canonicalize(), self.path.canonicalize()) {
            (Ok(real), Ok(dir)) if !real.starts_with(&dir) => None,
            _ => Some(path), // a missing file is reported by whoever needs it
        }
    }

    /// Refuses a path that exists and resolves to a place outside the repository.
    pub(crate) fn confine(&self, path: &Path) -> Result<()> {
        match path.canonicalize() {
            Ok(real) if !real.starts_with(&self.root) => Err(Error::invalid_arg(format!(
                "'{}' leads to '{}', which is outside the model repository",
                path.display(),
                real.display()
            ))),
            _ => Ok(()), // a missing file is reported by whoever needs it
        }
    }
}

/// The models that go by `name`: one for each namespace with a folder of that name. Without any, the name alone, which
/// [`crate::Repository`] will then say is not there.
pub(crate) fn named(roots: &[Root], name: &str) -> BTreeSet<ModelId> {
    let there = roots.iter().filter(|root| !matches!(root.model(name), Ok(None)));
    let mut found: BTreeSet<_> =
        there.map(|root| ModelId { namespace: root.namespace.clone(), name: name.into() }).collect();
    if found.is_empty() {
        found.insert(ModelId::bare(name));
    }
    found
}

/// In how many repositories each model is found.
pub(crate) fn scan(roots: &[Root]) -> Result<BTreeMap<ModelId, usize>> {
    let mut found = BTreeMap::new();
    for root in roots {
        for name in root.models()? {
            let model = ModelId { namespace: root.namespace.clone(), name: name.into() };
            *found.entry(model).or_insert(0) += 1;
        }
    }
    Ok(found)
}

/// Names of the folders in `path`, sorted, without hidden ones and without names that are not UTF-8.
///
/// # Errors
/// Internal `failed to open directory <path>`.
pub(crate) fn subdirectories(path: &Path) -> Result<BTreeSet<String>> {
    entries(path, |entry| entry.path().is_dir())
}

/// Names of everything in `path`, sorted, without hidden entries and without names that are not UTF-8.
///
/// # Errors
/// Internal `failed to open directory <path>`.
pub(crate) fn contents(path: &Path) -> Result<BTreeSet<String>> {
    entries(path, |_| true)
}

fn entries(path: &Path, keep: impl Fn(&fs::DirEntry) -> bool) -> Result<BTreeSet<String>> {
    let failed = |_| Error::internal(format!("failed to open directory {}", path.display()));
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
            && keep(&entry)
        {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Reads a whole text file of at most [`MAX_TEXT_BYTES`]; `kind` names it in messages.
///
/// # Errors
/// As those of [`read_start`]; InvalidArg if the file is too large.
pub(crate) fn read_text(path: &Path, kind: &str) -> Result<Vec<u8>> {
    let bytes = read_start(path, MAX_TEXT_BYTES + 1)?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(Error::invalid_arg(format!(
            "{kind} '{}' is larger than the limit of {MAX_TEXT_BYTES} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Reads the first `most` bytes of a file, or all if it has fewer.
///
/// # Errors
/// Internal `failed to open text file for read <path>: <why>` (Triton's), also for what is no regular file.
pub(crate) fn read_start(path: &Path, most: u64) -> Result<Vec<u8>> {
    let failed =
        |why: String| Error::internal(format!("failed to open text file for read {}: {why}", path.display()));
    // Opening a FIFO waits for someone to write to it, and a device may never end.
    if !fs::metadata(path).map_err(|e| failed(os_text(&e)))?.is_file() {
        return Err(failed("not a regular file".to_owned()));
    }
    let file = File::open(path).map_err(|e| failed(os_text(&e)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(|e| failed(os_text(&e)))?;
    Ok(bytes)
}

/// The words of `strerror`, without the ` (os error N)` that Rust adds.
pub(crate) fn os_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|_| Error::internal(format!("failed to stat file {}", path.display())))
}
