//! A repository path that is itself a model: `<path>/model.onnx`, or `<path>/1/model.onnx`. That is what is there when a
//! single model is mounted, or KServe's storage initializer has fetched one; Triton finds no model in it.
//!
//! Says whether that is so, and what the model is called. Where its files are is for [`ModelDir`] to say.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use nereid_core::Result;
use nereid_protocol::inference::ModelConfig;

use crate::disk::{self, ModelDir};
use crate::{poll, versions};

/// The version of a model whose file is in no version's folder.
pub(crate) const ONLY_VERSION: u64 = 1;

/// Names of model files that are taken before all others, as in a version's folder.
const USUAL_FILES: [&str; 2] = ["model.plan", "model.onnx"];
/// The folder of a model for configs; it is no model, whatever it holds.
const CONFIGS: &str = "configs";
const CONFIG: &str = "config.pbtxt";

/// What a bare model's name depends on besides its files.
#[derive(Debug, Clone)]
pub(crate) struct Naming {
    /// `--bare-model-name`.
    pub(crate) given: Option<String>,
    /// `--model-config-name`.
    pub(crate) config_name: String,
}

/// A model that is a repository's path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bare {
    pub(crate) name: String,
    pub(crate) layout: Layout,
}

/// Where its files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In folders of versions.
    Versions,
    /// This file is the model, and everything beside it belongs to it.
    File(String),
}

/// Whether the folder `dir` is a model. It is none if anything in it is a folder of a model.
///
/// # Errors
/// It cannot be read.
pub(crate) fn look(dir: &ModelDir, naming: &Naming) -> Result<Option<Bare>> {
    let folders = disk::subdirectories(&dir.path)?;
    let other = |name: &&String| name.as_str() != CONFIGS && name.as_str() != disk::LOST_AND_FOUND;
    if folders.iter().filter(other).any(|name| is_model(&dir.path.join(name))) {
        return Ok(None);
    }
    let files = &disk::contents(&dir.path)? - &folders;
    let has_config = files.contains(CONFIG) || folders.contains(CONFIGS);
    let has_files = |version: &&String| {
        let path = dir.path.join(version);
        disk::contents(&path).is_ok_and(|names| names != disk::subdirectories(&path).unwrap_or_default())
    };
    let config = poll::read_config(dir, &naming.config_name, true).unwrap_or_default();
    let versions: Vec<_> = folders.iter().filter(|name| versions::digits(name)).collect();
    let layout = match model_file(&files, &config) {
        _ if versions.iter().any(has_files) => Layout::Versions,
        Some(file) => Layout::File(file),
        None if has_config && !versions.is_empty() => Layout::Versions,
        None => return Ok(None),
    };
    let name = name(&dir.path, naming, config, &layout);
    Ok(Some(Bare { name, layout }))
}

/// Whether `folder` looks like the folder of a model: it has a config or versions.
pub(crate) fn is_model(folder: &Path) -> bool {
    folder.join(CONFIG).exists()
        || folder.join(CONFIGS).is_dir()
        || disk::subdirectories(folder).is_ok_and(|names| names.iter().any(|name| versions::digits(name)))
}

/// Those of `files` that are models by their extension.
pub(crate) fn model_files(files: &BTreeSet<String>) -> Vec<&String> {
    let is_model = |file: &&String| {
        let extension = Path::new(file.as_str()).extension();
        extension.is_some_and(|extension| extension == "onnx" || extension == "plan")
    };
    files.iter().filter(is_model).collect()
}

/// The one file among `files` that is the model.
fn model_file(files: &BTreeSet<String>, config: &ModelConfig) -> Option<String> {
    if files.contains(&config.default_model_filename) {
        return Some(config.default_model_filename.clone());
    }
    if let Some(usual) = USUAL_FILES.into_iter().find(|file| files.contains(*file)) {
        return Some(usual.to_owned());
    }
    match model_files(files)[..] {
        [only] => Some(only.clone()),
        _ => None,
    }
}

fn name(path: &Path, naming: &Naming, config: ModelConfig, layout: &Layout) -> String {
    if let Some(given) = &naming.given {
        return given.clone();
    }
    if !config.name.is_empty() {
        return config.name;
    }
    let folder = || {
        let named = |path: &Path| match path.components().next_back() {
            Some(Component::Normal(name)) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        };
        named(path).or_else(|| named(&path.canonicalize().ok()?))
    };
    let name = match layout {
        Layout::Versions => folder(),
        Layout::File(file) => Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()),
    };
    name.unwrap_or_else(|| "model".to_owned())
}
