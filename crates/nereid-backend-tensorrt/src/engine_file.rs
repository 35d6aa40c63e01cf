//! Which file of a version is its plan, and its bytes. What is in them is for TensorRT to say.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nereid_core::{Error, Result};

/// The plan of the version in `version_dir`: `for_this_gpu`, which the config names for the GPU's compute capability, or
/// else `model_file`.
pub(crate) fn locate(version_dir: &Path, model_file: &Path, for_this_gpu: Option<&str>) -> PathBuf {
    for_this_gpu.map_or_else(|| model_file.to_owned(), |name| version_dir.join(name))
}

/// How `cc_model_filenames` calls GPUs of compute capability `major`.`minor`.
pub(crate) fn capability((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

/// The bytes of the plan at `path`, of which instance `instance` is to be made.
///
/// # Errors
/// `Unavailable`, with Triton's text, if there is no file; `Internal` if it cannot be read or is larger than memory.
pub(crate) fn read(path: &Path, instance: &str) -> Result<Vec<u8>> {
    let shown = path.display();
    let missing = || Error::unavailable(format!("unable to find '{shown}' for model instance '{instance}'"));
    let unreadable =
        |why: &dyn std::fmt::Display| Error::internal(format!("failed to read '{shown}': {why}"));
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(missing());
        }
        Err(e) => return Err(unreadable(&e)),
    };
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a folder" } else { "no plain file" };
        return Err(unreadable(&format_args!("it is {what}, and a plan is one file")));
    }
    let mut bytes = Vec::new();
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    bytes
        .try_reserve_exact(size)
        .map_err(|_| unreadable(&format_args!("its {size} bytes do not fit into host memory")))?;
    let mut file = File::open(path).map_err(|e| unreadable(&e))?;
    file.read_to_end(&mut bytes).map_err(|e| unreadable(&e))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_by_compute_capability() {
        let (dir, file) = (Path::new("m/1"), Path::new("m/1/sub/model.plan"));
        assert_eq!(locate(dir, file, None), file);
        assert_eq!(locate(dir, file, Some("model_sm90.plan")), Path::new("m/1/model_sm90.plan"));
        assert_eq!(capability((9, 0)), "9.0");
        assert_eq!(capability((12, 1)), "12.1");
    }

    #[test]
    fn what_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str, expected: &str| {
            let path = dir.path().join(name);
            let error = read(&path, "m_0").unwrap_err().with_code();
            assert_eq!(error, expected.replace('P', &path.display().to_string()));
        };
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        std::fs::write(dir.path().join("file"), b"x").unwrap();
        check("none", "Unavailable: unable to find 'P' for model instance 'm_0'");
        check("file/none", "Unavailable: unable to find 'P' for model instance 'm_0'");
        check("folder", "Internal: failed to read 'P': it is a folder, and a plan is one file");
    }
}
