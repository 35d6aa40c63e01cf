//! Finds and loads `libonnxruntime.so`. Once per process: the library does not allow a second.

use std::error::Error as _;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use nereid_core::{Error, Result};
use ort::LoadDynamicError;

/// Environment variable that names the library.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Loads the library: `chosen`, else what `ORT_DYLIB_PATH` names, else the first of the usual places
/// that has one. Once a library is loaded, later calls succeed without looking.
///
/// # Errors
/// `Unavailable`, naming every path that was tried and why it was refused.
pub(crate) fn load(chosen: Option<&Path>) -> Result<()> {
    let executable = std::env::current_exe().ok();
    let directory = executable.as_deref().and_then(Path::parent);
    let mut refused = String::new();
    for path in candidates(chosen, std::env::var_os(VARIABLE), directory) {
        match ort::init_from(&path) {
            // The builder is not needed: the environment is made through the C API.
            Ok(_) => {
                tracing::debug!(path = %path.display(), "loaded ONNX Runtime");
                return Ok(());
            }
            Err(error) => refused += &format!(" '{}' ({});", path.display(), reason(&path, &error)),
        }
    }
    Err(Error::unavailable(format!(
        "unable to load ONNX Runtime 1.{} or newer; set {VARIABLE} to the path of its libonnxruntime.so. Tried:{}",
        ort::MINOR_VERSION,
        refused.trim_end_matches(';'),
    )))
}

/// Paths to try, in order. A path that somebody chose is the only one.
fn candidates(chosen: Option<&Path>, variable: Option<OsString>, directory: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = chosen {
        return vec![path.to_owned()];
    }
    if let Some(path) = variable.filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let names = ["libonnxruntime.so", "libonnxruntime.so.1"];
    let mut paths = Vec::new();
    if let Some(directory) = directory {
        for folder in [directory.to_owned(), directory.join("../lib")] {
            paths.extend(names.iter().map(|name| folder.join(name)));
        }
    }
    paths.extend(names.iter().map(PathBuf::from)); // a bare name: the loader's own search
    paths
}

fn reason(path: &Path, error: &LoadDynamicError) -> String {
    match error {
        // Of another machine's library the loader says that it is not there.
        LoadDynamicError::Dlopen { .. } if let Some(machine) = foreign_machine(path) => {
            format!("it is built for {machine}, and this machine is {}", std::env::consts::ARCH)
        }
        LoadDynamicError::Dlopen { error, .. } => {
            // What the loader says is one level down, and begins with the path.
            let text = error.source().map_or_else(|| error.to_string(), |e| e.to_string());
            text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text).to_owned()
        }
        LoadDynamicError::MissingApi { .. } => "it does not export OrtGetApiBase".to_owned(),
        LoadDynamicError::BadVersion { version_str, .. } => format!("it is version {version_str}"),
        LoadDynamicError::InvalidVersionString => "its version is malformed".to_owned(),
    }
}

/// The machine that the library at `path` is built for, if it is another one than this.
fn foreign_machine(path: &Path) -> Option<String> {
    const MAGIC: &[u8] = b"\x7fELF";
    let mut header = [0; 20];
    File::open(path).ok()?.read_exact(&mut header).ok()?;
    let machine = match u16::from_le_bytes([header[18], header[19]]) {
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        other => format!("ELF machine {other}"),
    };
    (header.starts_with(MAGIC) && machine != std::env::consts::ARCH).then_some(machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_other_machines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.so");
        let machine = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            foreign_machine(&path)
        };
        let elf =
            |machine: u16| [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 11], &machine.to_le_bytes()].concat();
        assert_eq!(machine(&elf(8)).as_deref(), Some("ELF machine 8"));
        assert_eq!(machine(b"text, which is no library"), None);
        assert_eq!(machine(b"\x7fELF"), None);
        assert_eq!(foreign_machine(&std::env::current_exe().unwrap()), None);
    }

    #[test]
    fn what_is_chosen_is_the_only_candidate() {
        let chosen = Path::new("/a/x.so");
        assert_eq!(candidates(Some(chosen), Some("/b/y.so".into()), None), [chosen]);
        assert_eq!(candidates(None, Some("/b/y.so".into()), None), [Path::new("/b/y.so")]);
    }

    #[test]
    fn usual_places() {
        let expected = [
            "/opt/bin/libonnxruntime.so",
            "/opt/bin/libonnxruntime.so.1",
            "/opt/bin/../lib/libonnxruntime.so",
            "/opt/bin/../lib/libonnxruntime.so.1",
            "libonnxruntime.so",
            "libonnxruntime.so.1",
        ];
        assert_eq!(candidates(None, Some("".into()), Some(Path::new("/opt/bin"))), expected.map(Path::new));
    }
}
