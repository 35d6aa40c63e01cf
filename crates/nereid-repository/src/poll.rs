//! One model folder → a config that is complete as far as files can tell, or the reason why not.
//! A model that fails here is in the index with its name only; the reason is in the log
//! (`ModelRepositoryManager::InitializeModelInfo`).

use std::ffi::OsString;
use std::path::PathBuf;

use nereid_core::{Error, Result};
use nereid_protocol::config_text;
use nereid_protocol::inference::ModelConfig;

use crate::config::backend_name::{self, VersionFiles};
use crate::config::{normalize, tensors, unsupported, validate};
use crate::disk::{self, ModelDir};
use crate::{ModelId, Options, versions};

/// A model as found on disk, not loaded.
#[derive(Debug, Clone)]
pub(crate) struct Polled {
    pub(crate) id: ModelId,
    pub(crate) dir: ModelDir,
    /// Normalised; inputs and outputs may be missing still.
    pub(crate) config: ModelConfig,
    /// The entry of the folder that the config is in.
    pub(crate) config_entry: OsString,
}

/// Refuses names that could leave the repository.
///
/// # Errors
/// InvalidArg with the texts of `ValidateModelName`.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let trimmed = name.trim();
    if trimmed.is_empty() {
        return Err(Error::invalid_arg("Model name cannot be empty. Please enter a valid name to deploy."));
    }
    if matches!(trimmed, "." | "..") || trimmed.contains(['/', '\\', '\0']) {
        return Err(Error::invalid_arg(format!(
            "invalid model name '{name}', model name must not contain path traversal characters"
        )));
    }
    Ok(())
}

/// Checks the config of `model` in `dir`: the `given` one, or else the one on disk.
///
/// # Errors
/// With Triton's texts: unreadable or malformed config, no backend to be guessed, a config that contradicts
/// itself, a name that is not the folder's.
pub(crate) fn poll(
    model: &ModelId,
    dir: ModelDir,
    given: Option<ModelConfig>,
    options: &Options,
) -> Result<Polled> {
    let name = &*model.name;
    let is_named = dir.is_bare() && given.is_none();
    let mut config =
        given.map_or_else(|| read_config(&dir, &options.config_name, options.auto_complete), Ok)?;
    if is_named {
        name.clone_into(&mut config.name); // which may be another one than the config's
    }
    if let Some(file) = dir.only_file() {
        backend_name::from_file(&mut config, file);
    }
    let files = version_files(&dir)?;
    backend_name::guess(&mut config, name, files.as_ref())?;
    normalize::defaults(&mut config);
    validate::validate(&config)?;
    unsupported::at_poll(&config)?;
    if !options.auto_complete {
        tensors::validate(&config)?;
    }
    if config.name != name {
        return Err(Error::invalid_arg(format!(
            "unexpected directory name '{name}' for model '{}', directory name must equal model name",
            config.name
        )));
    }
    let config_entry = config_entry(&dir, &options.config_name);
    Ok(Polled { id: model.clone(), dir, config, config_entry })
}

/// The config on disk. Without one, an empty config if it is `optional`.
///
/// # Errors
/// It cannot be read, or is malformed.
pub(crate) fn read_config(dir: &ModelDir, config_name: &str, optional: bool) -> Result<ModelConfig> {
    let path = config_path(dir, config_name);
    if optional && !path.exists() {
        return Ok(ModelConfig::default());
    }
    dir.confine(&path)?;
    let text = disk::read_text(&path, "model config")?;
    let failed =
        |why: String| Error::internal(format!("failed to read text proto from {}:{why}", path.display()));
    let text = String::from_utf8(text).map_err(|e| failed(format!(" {}", e.utf8_error())))?;
    config_text::parse(&text).map_err(|e| failed(e.to_string()))
}

/// `configs/<config_name>.pbtxt` where it exists, else `config.pbtxt`.
fn config_path(dir: &ModelDir, config_name: &str) -> PathBuf {
    if !config_name.is_empty() {
        let path = dir.path.join("configs").join(format!("{config_name}.pbtxt"));
        if path.exists() {
            return path;
        }
    }
    dir.path.join("config.pbtxt")
}

fn config_entry(dir: &ModelDir, config_name: &str) -> OsString {
    let path = config_path(dir, config_name);
    let entry = path.strip_prefix(&dir.path).ok().and_then(|relative| relative.iter().next());
    entry.map(OsString::from).unwrap_or_default()
}

fn version_files(dir: &ModelDir) -> Result<Option<VersionFiles>> {
    let Some(folder) = versions::folder_to_inspect(dir)? else { return Ok(None) };
    dir.confine(&folder)?;
    let (names, folders) = (disk::contents(&folder)?, disk::subdirectories(&folder)?);
    Ok(Some(VersionFiles { names, folders }))
}
