//! A scratch model repository with one model of the real one, so that a server under test serves that
//! model and nothing else but what is added.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

const THREADS: &str = "intra_op_thread_count";

/// One model out of a repository. The files go when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    directory: TempDir,
    /// Its ONNX file, in the real repository.
    pub model_file: PathBuf,
    /// Intra-op threads that its config asks for, if any.
    pub threads: Option<usize>,
}

impl Scratch {
    /// Takes version 1 of `model`. With `threads` its config gets one instance of so many intra-op threads,
    /// as far as it says neither itself, so that a bare loop can be compared with it.
    ///
    /// # Errors
    /// The model is not there, or nothing can be written.
    pub fn new(repository: &Path, model: &str, threads: Option<usize>) -> Result<Self> {
        let source = fs::canonicalize(repository.join(model))
            .with_context(|| format!("no model '{model}' in {}", repository.display()))?;
        let model_file = source.join("1/model.onnx");
        fs::metadata(&model_file).with_context(|| format!("cannot read {}", model_file.display()))?;
        let directory = TempDir::new().context("cannot make a scratch model repository")?;
        let target = directory.path().join("models").join(model);
        copy(&source, &target).with_context(|| format!("cannot copy {}", source.display()))?;
        let mut config = fs::read_to_string(source.join("config.pbtxt"))
            .with_context(|| format!("cannot read the config of '{model}'"))?;
        let own = threads_in(&config);
        if let (None, Some(threads)) = (own, threads) {
            config +=
                &format!("\nparameters {{ key: \"{THREADS}\" value {{ string_value: \"{threads}\" }} }}\n");
        }
        if threads.is_some() && !config.contains("instance_group") {
            config += "\ninstance_group { kind: KIND_CPU count: 1 }\n";
        }
        fs::remove_file(target.join("config.pbtxt"))?; // it may be a link to the real one
        fs::write(target.join("config.pbtxt"), config)?;
        Ok(Self { directory, model_file, threads: own.or(threads) })
    }

    /// Adds version 1 of another model: its config and, if it has one, its ONNX file.
    ///
    /// # Errors
    /// Nothing can be written.
    pub fn add(&self, model: &str, config: &str, file: Option<&Path>) -> std::io::Result<()> {
        let target = self.path().join(model);
        fs::create_dir_all(target.join("1"))?;
        fs::write(target.join("config.pbtxt"), config)?;
        file.map_or(Ok(()), |file| fs::copy(file, target.join("1/model.onnx")).map(drop))
    }

    /// The repository.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("models")
    }

    /// Where the server may log to, beside the repository.
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

/// Copies a directory, by hard links where the file system allows. Not by symbolic links: a server does
/// not follow them out of its repository.
fn copy(source: &Path, target: &Path) -> std::io::Result<()> {
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&from, &to)?;
        } else if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

/// The number that follows the parameter's name.
fn threads_in(config: &str) -> Option<usize> {
    let (_, after) = config.split_once(THREADS)?;
    let (_, value) = after.split_once("string_value")?;
    value.split('"').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_a_config() {
        for (config, expected) in [
            ("name: \"m\"", None),
            ("parameters { key: \"intra_op_thread_count\" value: { string_value: \"3\" } }", Some(3)),
            ("parameters: {\n key: \"intra_op_thread_count\"\n value { string_value : \"12\"}}", Some(12)),
        ] {
            assert_eq!(threads_in(config), expected, "{config}");
        }
    }

    #[test]
    fn a_model_alone() {
        let real = TempDir::new().unwrap();
        fs::create_dir_all(real.path().join("m/1")).unwrap();
        fs::create_dir_all(real.path().join("other/1")).unwrap();
        fs::write(real.path().join("m/1/model.onnx"), "x").unwrap();
        fs::write(real.path().join("m/config.pbtxt"), "name: \"m\"").unwrap();
        let scratch = Scratch::new(real.path(), "m", Some(2)).unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(scratch.path().join("m/1/model.onnx")).unwrap(), "x");
        let config = fs::read_to_string(scratch.path().join("m/config.pbtxt")).unwrap();
        assert_eq!((threads_in(&config), scratch.threads), (Some(2), Some(2)));
        assert!(config.contains("count: 1"), "{config}");
        let untouched = fs::read_to_string(real.path().join("m/config.pbtxt")).unwrap();
        assert_eq!(untouched, "name: \"m\"");
        assert!(Scratch::new(real.path(), "other", None).is_err(), "no model.onnx");
        assert!(Scratch::new(real.path(), "none", None).is_err());
    }
}
