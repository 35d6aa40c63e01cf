//! Where the stand-ins are: shared libraries that a program under test loads in place of those of NVIDIA.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The library of the example `name`, such as `fake_cuda`. All of them are built when the first is asked for.
///
/// # Panics
/// They do not compile, or the running program is not a test of this workspace.
pub fn library(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let library = FOLDER.get_or_init(build).join(format!("lib{name}.so"));
    assert!(library.is_file(), "{} is not there", library.display());
    library
}

/// Brings the libraries up to date, which costs little when they are: cargo builds no examples of a dependency, and those
/// of an older build would be taken without a word.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "nereid-fakes", "--examples", "--target-dir"]);
    build.arg(profile.parent().expect("a profile lies in the target directory"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(status.success(), "the stand-ins do not compile");
    profile.join("examples")
}
