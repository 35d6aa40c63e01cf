//! What a load request may bring along: a config that replaces the one on disk, and files that replace the whole
//! model directory. The files go into a temporary directory that lives as long as something uses it.
//!
//! Texts are those of `LocalizeRepoAgent` and `InitializeModelInfo` in Triton's model_repository_manager.cc.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use nereid_core::{Error, Result};
use nereid_protocol::config_json;
use nereid_protocol::inference::ModelConfig;

use crate::disk::{ModelDir, os_text};
use crate::scratch::Scratch;

/// Most bytes of a config that comes with a request. Reading one takes many times its size.
const MAX_CONFIG_BYTES: usize = 1 << 20;
/// Most bytes of the name of a model that is on no disk, as if it had a folder there.
const MAX_NAME_BYTES: usize = 255;

/// Parameters of a load request.
#[derive(Debug, Clone, Default)]
pub struct LoadParameters {
    /// `config`: the whole model config as JSON, instead of config.pbtxt.
    pub config: Option<String>,
    /// `file:<path>`: contents by path, without `file:`. They stand for the whole model directory.
    pub files: BTreeMap<String, Bytes>,
}

impl LoadParameters {
    /// The config that replaces the one on disk.
    ///
    /// # Errors
    /// InvalidArg `Invalid config override: …`.
    pub(crate) fn model_config(&self) -> Result<Option<ModelConfig>> {
        let Some(json) = &self.config else { return Ok(None) };
        let invalid = |why: &dyn Display| Error::invalid_arg(format!("Invalid config override: {why}"));
        if json.len() > MAX_CONFIG_BYTES {
            let why = format!("{} bytes, more than the limit of {MAX_CONFIG_BYTES}", json.len());
            return Err(invalid(&why));
        }
        config_json::parse(json).map(Some).map_err(|e| invalid(&e))
    }

    /// A temporary directory in `scratch` with the files, for a model that goes by `name`.
    ///
    /// # Errors
    /// InvalidArg for a load without a config, paths that would leave the directory, and names that no folder could
    /// have; Internal if the files cannot be written.
    pub(crate) fn directory(&self, name: &str, scratch: &Scratch) -> Result<ModelDir> {
        if self.config.is_none() {
            return Err(Error::invalid_arg(
                "Load parameter 'config' must be specified for model file override",
            ));
        }
        if name.len() > MAX_NAME_BYTES || name.contains(char::is_control) {
            return Err(Error::invalid_arg(format!(
                "a model that is loaded from files needs a name of at most {MAX_NAME_BYTES} bytes without control \
                 characters"
            )));
        }
        let folder = scratch.folder(|folder| {
            self.files.iter().try_for_each(|(key, contents)| write(folder, key, contents))
        })?;
        ModelDir::temporary(folder)
    }
}

fn write(folder: &Path, key: &str, contents: &[u8]) -> Result<()> {
    let path = inside(folder, key)?;
    let refuse = |what: &str| Error::invalid_arg(format!("Invalid file parameter 'file:{key:.200}'{what}"));
    let parent = path.parent().unwrap_or(folder);
    let failed = |e| Error::internal(format!("failed to write '{:.400}': {}", path.display(), os_text(&e)));
    for above in parent.ancestors().take_while(|above| *above != folder) {
        if above.is_file() {
            return Err(refuse(", directory has been created as a file"));
        }
    }
    fs::create_dir_all(parent).map_err(failed)?;
    fs::write(&path, contents).map_err(failed)
}

/// Where the file of `key` goes. Judged by its text alone: there are no links in a directory that nobody else fills.
fn inside(folder: &Path, key: &str) -> Result<PathBuf> {
    let mut relative = PathBuf::new();
    let mut stays = !key.contains(['\0', '\\']);
    for part in Path::new(key).components() {
        match part {
            Component::Normal(name) => relative.push(name),
            Component::CurDir => {}
            Component::ParentDir => stays &= relative.pop(),
            Component::RootDir | Component::Prefix(_) => stays = false,
        }
    }
    if stays && !relative.as_os_str().is_empty() {
        return Ok(folder.join(relative));
    }
    Err(Error::invalid_arg(format!(
        "Invalid file parameter 'file:{key:.200}' with normalized path '{:.400}' must stay within model directory.",
        folder.join(key.trim_start_matches('/')).display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let folder = Path::new("/tmp/x");
        for (key, expected) in [
            ("1/model.onnx", Some("/tmp/x/1/model.onnx")),
            ("./1//model.onnx", Some("/tmp/x/1/model.onnx")),
            ("1/../2/model.onnx", Some("/tmp/x/2/model.onnx")),
            ("labels.txt", Some("/tmp/x/labels.txt")),
            ("", None),
            (".", None),
            ("1/..", None),
            ("..", None),
            ("../x/y", None),
            ("../x-evil/y", None),
            ("1/../../y", None),
            ("/etc/passwd", None),
            ("a\\..\\b", None),
            ("a\0b", None),
        ] {
            assert_eq!(inside(folder, key).ok(), expected.map(PathBuf::from), "{key}");
        }
        assert_eq!(
            inside(folder, "../y").unwrap_err().message(),
            "Invalid file parameter 'file:../y' with normalized path '/tmp/x/../y' must stay within model directory."
        );
    }
}
