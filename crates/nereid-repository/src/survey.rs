//! What a repository holds, in words, for whoever has mounted the wrong folder. Decides nothing: models that load are served
//! whatever this says.

use std::collections::BTreeSet;
use std::path::Path;

use nereid_core::Result;

use crate::bare::{self, Bare, Layout};
use crate::disk::{self, ModelDir, Root};
use crate::versions;

/// So many names are told; of folders, so many are looked into.
const SHOWN: usize = 3;
const LOOKED_INTO: usize = 100;

/// To whoever has a model that wants a GPU.
pub(crate) const NO_GPU: &str = "no GPU is used here, the log says why: a container must be given one, as by nvidia.com/gpu among its limits";

/// Writes to the log what `root` is taken for, and what in it is probably not where it should be.
pub(crate) fn survey(root: &Root) {
    if let Err(e) = look(root) {
        tracing::warn!("cannot see what is in the model repository '{}': {e}", root.path().display());
    }
}

/// What may be wrong with the folder of a model that did not load, if that can be seen.
pub(crate) fn hint(dir: &ModelDir) -> Option<String> {
    if dir.is_bare() {
        return None;
    }
    let folder = &*dir.path;
    if let Some(hint) = inner_repository(folder) {
        return Some(hint);
    }
    let (files, folders) = contents(folder).ok()?;
    if folders.iter().any(|name| versions::digits(name)) {
        return None;
    }
    let folder = folder.display();
    Some(match bare::model_files(&files)[..] {
        [] => format!("'{folder}' has no folder of a version, such as '{folder}/1'"),
        [file, ..] => format!(
            "'{folder}' has no folder of a version: move '{file}', which is in it, to '1/{}'",
            usual(file)
        ),
    })
}

fn look(root: &Root) -> Result<()> {
    let path = root.path().display();
    let (files, folders) = contents(root.path())?;
    let bare = root.bare()?;
    if let Some(Bare { name, layout }) = &bare {
        let what = match layout {
            Layout::File(file) => format!("the model file '{file}'"),
            Layout::Versions => "folders of versions".to_owned(),
        };
        tracing::info!(
            "'{path}' holds {what} and no folders of models: it is served as model '{name}' (--bare-model-name calls it otherwise)"
        );
    }
    let strays = bare::model_files(&files);
    if !strays.is_empty() && !matches!(&bare, Some(bare) if bare.layout != Layout::Versions) {
        tracing::warn!("{}", ignored(root.path(), &strays));
    }
    if bare.is_none() && root.models()?.is_empty() {
        tracing::warn!(
            "no model was found in the model repository '{path}': {}. Is the right folder mounted there? Models are \
             expected as '{path}/<model>/<version>/model.onnx', or a single one as '{path}/model.onnx'",
            holds(root.path(), &files)
        );
    }
    for folder in folders.iter().take(LOOKED_INTO) {
        if let Some(hint) = inner_repository(&root.path().join(folder)) {
            tracing::warn!("{hint}");
        }
    }
    Ok(())
}

/// Which models there are, for whoever asked for another one.
pub(crate) fn others(roots: &[Root]) -> Option<String> {
    let models: BTreeSet<String> = roots.iter().flat_map(|root| root.models().unwrap_or_default()).collect();
    (!models.is_empty()).then(|| format!("there are {}", quoted(models.iter().map(String::as_str))))
}

/// `folder` holds folders of models, so that it is probably the repository itself.
fn inner_repository(folder: &Path) -> Option<String> {
    let inner = disk::subdirectories(folder).ok()?;
    let mut models = inner.iter().filter(|name| *name != "configs" && bare::is_model(&folder.join(name)));
    if bare::is_model(folder) {
        return None;
    }
    let (model, folder) = (models.next()?, folder.display());
    Some(format!(
        "'{folder}' holds folders of models, such as '{model}': the model repository seems to be one folder too high, try \
         --model-repository={folder}"
    ))
}

/// Model files that lie beside folders.
fn ignored(path: &Path, strays: &[&String]) -> String {
    let path = path.display();
    let example = strays.first().map_or("", |file| usual(file));
    format!(
        "ignore {} in the model repository '{path}': a model that is not alone there needs a folder of its own, such as \
         '{path}/<model>/1/{example}'",
        quoted(strays.iter().map(|file| file.as_str()))
    )
}

/// What is in a folder without models.
fn holds(path: &Path, files: &BTreeSet<String>) -> String {
    if !files.is_empty() {
        let count = files.len();
        return format!(
            "it holds no folders, only {count} file(s), {}",
            quoted(files.iter().map(String::as_str))
        );
    }
    match std::fs::read_dir(path).map(|mut entries| entries.next().is_some()) {
        Ok(true) => "it holds only hidden entries".to_owned(),
        _ => "it is empty".to_owned(),
    }
}

/// The first of `names`, and whether there are more.
fn quoted<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = if names.len() > SHOWN { " …" } else { "" };
    let shown: Vec<_> = names.take(SHOWN).map(|name| format!("'{name}'")).collect();
    shown.join(", ") + more
}

/// The name that a model file needs in the folder of a version.
fn usual(file: &str) -> &'static str {
    if file.ends_with(".plan") { "model.plan" } else { "model.onnx" }
}

/// Names of files and of folders in `path`.
fn contents(path: &Path) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let folders = disk::subdirectories(path)?;
    Ok((&disk::contents(path)? - &folders, folders))
}
