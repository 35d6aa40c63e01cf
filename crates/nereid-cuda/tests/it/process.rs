//! Runs a test in a process of its own, with the stand-in of the driver in place: a driver is loaded once per process.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const CHILD: &str = "NEREID_TEST_CHILD";

/// In the child, runs `body`; else starts the child for the test `name` of [`crate::driver`], which loads `library` as the
/// CUDA driver and has the variables of `environment`, and waits for it.
pub(crate) fn with_driver(name: &str, library: &Path, environment: &[(&str, &str)], body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let folder = tempfile::tempdir().unwrap();
    for file in ["libcuda.so", "libcuda.so.1"] {
        symlink(library, folder.path().join(file)).unwrap();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &format!("driver::{name}"), "--nocapture"]);
    child.env(CHILD, "1").env("LD_LIBRARY_PATH", folder.path()).env_remove("CUDA_VISIBLE_DEVICES");
    let output = child.envs(environment.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
