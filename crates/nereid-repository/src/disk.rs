//! The repository folders: which models are there, and reading their small files.
//!
//! Paths stay as the user wrote them, because messages show them; what they resolve to must lie inside
//! the repository. Nothing here knows what the files mean.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nereid_core::{Error, Result};
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::bare::{self, Bare, Layout, Naming};
use crate::{ModelId, Options};

/// Most bytes that a config or label file may have.
pub(crate) const MAX_TEXT_BYTES: u64 = 16 << 20;

/// What a file system keeps in its root, and a volume of models is one: no model.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

/// One repository folder. It may be a link that is moved to another folder at any time.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    path: PathBuf,
    /// Of its models.
    pub(crate) namespace: Arc<str>,
    naming: Naming,
}

/// A model's folder, known to lie inside its repository, or to be it.
#[derive(Debug, Clone)]
pub(crate) struct ModelDir {
    pub(crate) path: PathBuf,
    root: PathBuf,
    /// Of a model that is its repository's folder.
    bare: Option<Layout>,
    /// Goes with its last user, if it was made for one load.
    #[expect(dead_code, reason = "held, never used")]
    temporary: Option<Arc<TempDir>>,
}

impl Root {
    /// Opens a repository folder, which with namespacing is a namespace of its own.
    ///
    /// # Errors
    /// It does not exist or is not a directory (`ModelRepositoryManager::Create`).
    pub(crate) fn open(path: &Path, options: &Options) -> Result<Self> {
        let shown = path.display();
        let advice = match shown.to_string().contains("://") {
            true => "models are read from folders only: mount the bucket, or copy them",
            false => "is the volume with the models mounted there?",
        };
        let real = path.canonicalize().map_err(|e| {
            Error::internal(format!("failed to stat file {shown}: {}; {advice}", os_text(&e)))
        })?;
        if !real.is_dir() {
            return Err(Error::invalid_arg(format!(
                "repository path is not a valid directory: '{shown}'; --model-repository must be the folder that it is in"
            )));
        }
        let namespace = if options.model_namespacing { path.to_string_lossy() } else { "".into() };
        let naming =
            Naming { given: options.bare_model_name.clone(), config_name: options.config_name.clone() };
        Ok(Self { path: path.to_owned(), namespace: namespace.into(), naming })
    }

    /// As the user wrote it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The model that this folder is, if it is one.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn bare(&self) -> Result<Option<Bare>> {
        bare::look(&self.dir(self.path.clone(), None)?, &self.naming)
    }

    /// Names of the models, sorted. Hidden entries, files and links that lead out are left out.
    pub(crate) fn models(&self) -> Result<BTreeSet<String>> {
        if let Some(bare) = self.bare()? {
            return Ok([bare.name].into());
        }
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
        if !is_name || name.starts_with('.') {
            return Ok(None);
        }
        // Whether this folder is a model is a question only where no folder in it is one.
        if !bare::is_model(&path)
            && let Ok(Some(bare)) = self.bare()
        {
            let dir = || self.dir(self.path.clone(), Some(bare.layout));
            return (bare.name == name).then(dir).transpose();
        }
        if !path.is_dir() || name == LOST_AND_FOUND {
            return Ok(None);
        }
        let dir = self.dir(path, None)?;
        dir.confine(&dir.path)?;
        Ok(Some(dir))
    }

    fn dir(&self, path: PathBuf, bare: Option<Layout>) -> Result<ModelDir> {
        Ok(ModelDir { path, root: canonical(&self.path)?, bare, temporary: None })
    }
}

impl ModelDir {
    /// A folder that is a repository of its own and is deleted when nobody uses it any more.
    ///
    /// # Errors
    /// It does not exist.
    pub(crate) fn temporary(folder: Arc<TempDir>) -> Result<Self> {
        let path = canonical(folder.path())?;
        Ok(Self { root: path.clone(), path, bare: None, temporary: Some(folder) })
    }

    /// The folder of `version`. It need not exist.
    pub(crate) fn version(&self, version: u64) -> PathBuf {
        match self.bare {
            Some(Layout::File(_)) => self.path.clone(),
            _ => self.path.join(version.to_string()),
        }
    }

    /// The version of a model that has no folders for versions.
    pub(crate) fn only_version(&self) -> Option<u64> {
        self.only_file().map(|_| bare::ONLY_VERSION)
    }

    /// The name of its file.
    pub(crate) fn only_file(&self) -> Option<&str> {
        match &self.bare {
            Some(Layout::File(file)) => Some(file),
            _ => None,
        }
    }

    /// Whether this is the repository's folder, and the model is called as [`Root::models`] says, not as the folder is.
    pub(crate) fn is_bare(&self) -> bool {
        self.bare.is_some()
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
/// Internal `failed to open directory <path>`, and why.
pub(crate) fn subdirectories(path: &Path) -> Result<BTreeSet<String>> {
    entries(path, |entry| entry.path().is_dir())
}

/// Names of everything in `path`, sorted, without hidden entries and without names that are not UTF-8.
///
/// # Errors
/// Internal `failed to open directory <path>`, and why.
pub(crate) fn contents(path: &Path) -> Result<BTreeSet<String>> {
    entries(path, |_| true)
}

fn entries(path: &Path, keep: impl Fn(&fs::DirEntry) -> bool) -> Result<BTreeSet<String>> {
    let failed = |e: std::io::Error| {
        let (path, why) = (path.display(), os_text(&e));
        Error::internal(format!("failed to open directory {path}: {why}{}", advice(&e)))
    };
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

/// Refuses a file or folder that is there and may not be read. Nothing else is opened, such as a FIFO, which would wait.
pub(crate) fn check_permission(path: &Path) -> Result<()> {
    if !path.metadata().is_ok_and(|metadata| metadata.is_file() || metadata.is_dir()) {
        return Ok(());
    }
    match File::open(path) {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Err(Error::internal(format!(
            "failed to open file {}: {}{}",
            path.display(),
            os_text(&e),
            advice(&e)
        ))),
        _ => Ok(()),
    }
}

/// What can be done about a file or folder that cannot be read.
fn advice(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => format!("; user {} must be able to read it", geteuid()),
        _ => String::new(),
    }
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
