//! What tells a model from all others for a response cache that outlives this server: its config and the contents of its
//! files. A server elsewhere that loads the same files finds what this one stored; one that loads others does not.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use blake3::Hasher;
use nereid_core::{Error, ModelConfig, Result};
use nereid_scheduler::ModelIdentity;

use crate::disk::ModelDir;

/// Changes when the same files may give other answers, or keys come about in another way.
const FORMAT: &str = concat!("nereid ", env!("CARGO_PKG_VERSION"), " model identity 1");

/// Files are read in parts of so many bytes.
const PART_BYTES: usize = 1 << 20;

/// The identity of `version` of the model in `dir`, of which every file is read: those of the version and those that all
/// versions share. The config counts as it was understood; which instances there are makes no difference.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn of(dir: &ModelDir, version: u64, config: &ModelConfig) -> Result<ModelIdentity> {
    let mut files = Files { dir, hasher: Hasher::new(), folders: Vec::new() };
    files.text(FORMAT);
    let config = ModelConfig { instances: Vec::new(), ..config.clone() };
    files.text(&format!("{config:?}"));
    files.text(&version.to_string());
    let counts = |name: &str| match name.bytes().all(|b| b.is_ascii_digit()) {
        true => name == version.to_string(),
        false => name != "config.pbtxt" && name != "configs",
    };
    files.folder(&dir.path, &counts).map_err(|e| {
        Error::internal(format!("failed to read {} for the response cache: {e}", dir.path.display()))
    })?;
    Ok(ModelIdentity(*files.hasher.finalize().as_bytes()))
}

/// Hashes files.
struct Files<'a> {
    dir: &'a ModelDir,
    hasher: Hasher,
    /// Devices and inodes of the folders on the way here: links may form loops.
    folders: Vec<(u64, u64)>,
}

impl Files<'_> {
    fn text(&mut self, text: &str) {
        self.hasher.update(&(text.len() as u64).to_le_bytes());
        self.hasher.update(text.as_bytes());
    }

    /// Everything in the folder `path` whose name `counts`, in the order of names. What leads out of the repository is
    /// left out, as are hidden files: the model cannot read the former, and does not consist of the latter.
    fn folder(&mut self, path: &Path, counts: &dyn Fn(&str) -> bool) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        let folder = (metadata.dev(), metadata.ino());
        if self.folders.contains(&folder) {
            return Ok(());
        }
        self.folders.push(folder);
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.file_name());
        }
        names.sort_unstable();
        for name in names {
            let shown = name.to_string_lossy();
            let path = path.join(&name);
            if shown.starts_with('.') || !counts(&shown) || self.dir.confine(&path).is_err() {
                continue;
            }
            let metadata = fs::metadata(&path)?;
            if metadata.is_dir() {
                self.text(&format!("folder {shown}"));
                self.folder(&path, &|_| true)?;
                self.text("end");
            } else if metadata.is_file() {
                self.text(&format!("file {shown}"));
                self.file(&path)?;
            }
        }
        self.folders.pop();
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        let mut file = File::open(path)?;
        let mut part = vec![0; PART_BYTES];
        let mut hasher = Hasher::new();
        loop {
            match file.read(&mut part) {
                Ok(0) => break,
                Ok(count) => hasher.update(&part[..count]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
        }
        self.hasher.update(hasher.finalize().as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::Arc;

    use nereid_core::testing::identity_config;

    use super::*;

    #[test]
    fn the_same_files_and_config_make_the_same_identity() {
        let make = || {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in
                [("1/model.onnx", "one"), ("1/sub/data", "d"), ("2/model.onnx", "two"), ("labels.txt", "l")]
            {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            symlink(folder.path(), folder.path().join("1/loop")).unwrap();
            ModelDir::temporary(Arc::new(folder)).unwrap()
        };
        let config = identity_config(8);
        let (dir, first) = (make(), of(&make(), 1, &config).unwrap());
        let now = |version| of(&dir, version, &config).unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path.join(name), text).unwrap();
        assert_eq!(now(1), first, "wherever it is");
        write("2/model.onnx", "other");
        write("config.pbtxt", "# other");
        write(".hidden", "other");
        assert_eq!(now(1), first, "whatever else is there");
        let mut seen = vec![first, now(2)];
        for (name, text) in [
            ("1/model.onnx", "ane"),
            ("1/sub/data", "c"),
            ("1/more", ""),
            ("1/more2", ""),
            ("labels.txt", "k"),
        ] {
            write(name, text);
            seen.push(now(1));
        }
        let wider = ModelConfig { max_batch_size: 9, ..config.clone() };
        seen.push(of(&dir, 1, &wider).unwrap());
        for (at, identity) in seen.iter().enumerate() {
            assert_eq!(seen.iter().position(|other| other == identity), Some(at));
        }
    }
}
