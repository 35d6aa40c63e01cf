//! Where TensorRT may be, in the order in which to look.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Environment variable that names the library, or the folder that it is in.
pub(super) const VARIABLE: &str = "TENSORRT_LIB";

/// The whole of TensorRT, then what runs version-compatible plans; the newer first.
const NAMES: [&str; 4] =
    ["libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer_lean.so.11", "libnvinfer_lean.so.10"];
/// TensorRT for workstations, whose plans are its own.
const RTX: &str = "libtensorrt_rtx.so.1";

/// Paths to try. A file that somebody chose is the only one; a folder that somebody chose is the only one to look into.
pub(super) fn candidates(
    chosen: Option<&Path>,
    variable: Option<OsString>,
    directory: Option<&Path>,
    allow_rtx: bool,
) -> Vec<PathBuf> {
    let names = NAMES.into_iter().chain(allow_rtx.then_some(RTX));
    let variable = variable.filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = chosen.map(Path::to_owned).or(variable) {
        return if path.is_dir() { names.map(|name| path.join(name)).collect() } else { vec![path] };
    }
    let mut paths = Vec::new();
    for name in names {
        if let Some(directory) = directory {
            paths.extend([directory.join(name), directory.join("../lib").join(name)]);
        }
        paths.push(PathBuf::from(name)); // a bare name: the loader's own search
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_is_the_only_candidate() {
        let chosen = Path::new("/a/x.so");
        assert_eq!(candidates(Some(chosen), Some("/b/y.so".into()), None, true), [chosen]);
        assert_eq!(candidates(None, Some("/b/y.so".into()), None, true), [Path::new("/b/y.so")]);
    }

    #[test]
    fn a_folder_is_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let expected: Vec<_> = NAMES.iter().map(|name| folder.path().join(name)).collect();
        assert_eq!(candidates(Some(folder.path()), None, None, false), expected);
        assert_eq!(
            candidates(None, Some(folder.path().into()), Some(Path::new("/opt/bin")), false),
            expected
        );
    }

    #[test]
    fn usual_places() {
        let expected = [
            "/opt/bin/libnvinfer.so.11",
            "/opt/bin/../lib/libnvinfer.so.11",
            "libnvinfer.so.11",
            "/opt/bin/libnvinfer.so.10",
            "/opt/bin/../lib/libnvinfer.so.10",
            "libnvinfer.so.10",
            "/opt/bin/libnvinfer_lean.so.11",
            "/opt/bin/../lib/libnvinfer_lean.so.11",
            "libnvinfer_lean.so.11",
            "/opt/bin/libnvinfer_lean.so.10",
            "/opt/bin/../lib/libnvinfer_lean.so.10",
            "libnvinfer_lean.so.10",
        ];
        let directory = Some(Path::new("/opt/bin"));
        assert_eq!(candidates(None, Some("".into()), directory, false), expected.map(Path::new));
        let bare =
            ["libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer_lean.so.11", "libnvinfer_lean.so.10", RTX];
        assert_eq!(candidates(None, None, None, true), bare.map(Path::new));
    }
}
