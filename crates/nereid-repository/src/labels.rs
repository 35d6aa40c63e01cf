//! Names of the classes of an output, read from the label files that a config names. Line N is class N.

use std::path::{Component, Path};

use nereid_core::{Error, Result};
use nereid_protocol::inference::ModelOutput;

use crate::disk::{self, ModelDir};

/// The labels of every output of a model.
#[derive(Debug, Default)]
pub struct Labels {
    /// By position of the output in the config; empty where it names no file.
    by_output: Vec<Vec<Box<str>>>,
}

impl Labels {
    /// The label of class `class` of the output at position `output` in the config. `None` where there is no
    /// file, no such line, or an empty line.
    pub fn get(&self, output: usize, class: usize) -> Option<&str> {
        self.by_output.get(output)?.get(class).map(|label| &**label).filter(|label| !label.is_empty())
    }

    /// Reads the label files of `outputs` of `model`.
    ///
    /// # Errors
    /// A file is missing (`failed to open text file for read …`), too large, or outside the model directory.
    pub(crate) fn read(dir: &ModelDir, model: &str, outputs: &[ModelOutput]) -> Result<Self> {
        let by_output = outputs.iter().map(|output| read_file(dir, model, output)).collect::<Result<_>>()?;
        Ok(Self { by_output })
    }
}

fn read_file(dir: &ModelDir, model: &str, output: &ModelOutput) -> Result<Vec<Box<str>>> {
    if output.label_filename.is_empty() {
        return Ok(Vec::new());
    }
    let path = dir.path.join(&output.label_filename);
    if escapes(&output.label_filename) || leads_out(&path, &dir.path) {
        return Err(Error::unsupported(format!(
            "label file path '{}' for output '{}' in model '{model}' is outside model directory",
            path.display(),
            output.name
        )));
    }
    let bytes = disk::read_text(&path, "label file")?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().map(Into::into).collect())
}

fn escapes(name: &str) -> bool {
    Path::new(name).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Whether `path` exists and is a link that leaves `dir`.
fn leads_out(path: &Path, dir: &Path) -> bool {
    match (path.canonicalize(), dir.canonicalize()) {
        (Ok(path), Ok(dir)) => !path.starts_with(dir),
        _ => false,
    }
}
