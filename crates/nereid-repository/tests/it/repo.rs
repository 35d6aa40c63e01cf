//! A model repository in a temporary folder, and what the tests put into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nereid_core::Result;
use nereid_core::backend::Backend;
use nereid_repository::{ControlMode, IndexEntry, LoadParameters, Options, Repository};

use crate::backend::FakeOnnx;

/// Long enough for anything that ends at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const MLP: &str = "input input FP32 -1 1 28 28\noutput output FP32 -1 10\n";
pub(crate) const IDENTITY: &str = "input INPUT0 FP32 -1 -1\noutput OUTPUT0 FP32 -1 -1\n";
pub(crate) const IO: &str = "input [ { name: \"input\" data_type: TYPE_FP32 dims: [ 1, 28, 28 ] } ]\n\
                             output [ { name: \"output\" data_type: TYPE_FP32 dims: [ 10 ] } ]\n";

pub(crate) struct Repo {
    folder: tempfile::TempDir,
    pub(crate) backend: Arc<FakeOnnx>,
}

impl Repo {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), backend: Arc::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A model with version 1; no config where `config` is empty.
    pub(crate) fn model(&self, name: &str, config: &str, signature: &str) {
        self.write(&format!("{name}/1/model.onnx"), signature);
        if !config.is_empty() {
            self.write(&format!("{name}/config.pbtxt"), config);
        }
    }

    /// A model that loads.
    pub(crate) fn good(&self, name: &str) {
        self.model(name, &(head(name, 8) + IO), MLP);
    }

    pub(crate) fn options(&self) -> Options {
        Options { paths: vec![self.path().to_owned()], ..Options::default() }
    }

    pub(crate) fn open(&self) -> Repository {
        self.open_with(self.options())
    }

    /// In explicit mode, with `models` loaded.
    pub(crate) fn explicit(&self, models: &[&str]) -> Repository {
        self.open_with(Options {
            control: ControlMode::Explicit,
            startup_models: models.iter().map(|name| (*name).to_owned()).collect(),
            ..self.options()
        })
    }

    pub(crate) fn open_with(&self, options: Options) -> Repository {
        Repository::open(options, self.backends()).unwrap()
    }

    pub(crate) fn backends(&self) -> Vec<Arc<dyn Backend>> {
        vec![self.backend.clone()]
    }
}

pub(crate) fn head(name: &str, max_batch_size: i32) -> String {
    format!("name: \"{name}\"\nplatform: \"onnxruntime_onnx\"\nmax_batch_size: {max_batch_size}\n")
}

/// Loads a model as it is on disk.
pub(crate) fn load(repository: &Repository, name: &str) -> Result<()> {
    repository.load_model(name, &LoadParameters::default())
}

/// `m/1 READY`, or with a reason `m/1 UNAVAILABLE: reason`; `m` for a model that was never loaded.
pub(crate) fn line(entry: &IndexEntry) -> String {
    let IndexEntry { name, version, state, reason } = entry;
    let mut line = name.to_string();
    if let Some(version) = version {
        line += &format!("/{version}");
    }
    if let Some(state) = state {
        line += &format!(" {state}");
    }
    if reason.is_empty() { line } else { line + ": " + reason }
}

pub(crate) fn index(repository: &Repository) -> Vec<String> {
    repository.index(false).unwrap().iter().map(line).collect()
}

/// Names of the models that failed to load at start, with the reasons.
pub(crate) fn failures(repository: &Repository) -> Vec<String> {
    repository.startup_failures().iter().map(|f| format!("{}: {}", f.model, f.error)).collect()
}
