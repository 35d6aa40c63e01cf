//! Label files: what is read, and what must not be.

use std::fs;
use std::process::Command;

use crate::repo::{IO, MLP, Repo, failures, head, index};

fn config(file: &str) -> String {
    head("m", 8) + &IO.replace("[ 10 ]", &format!("[ 10 ] label_filename: \"{file}\""))
}

#[test]
fn lines_are_classes() {
    let repo = Repo::new();
    repo.model("m", &config("names/labels.txt"), MLP);
    repo.write("m/names/labels.txt", "zero\none\r\n\nthree");
    let model = repo.open().find("m", None).unwrap();
    let classes: Vec<_> = (0..5).map(|class| model.labels.get(0, class)).collect();
    assert_eq!(classes, [Some("zero"), Some("one"), None, Some("three"), None]);
    assert_eq!(model.labels.get(1, 0), None, "no such output");
}

#[test]
fn files_outside_the_model_are_refused() {
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("secret"), "x").unwrap();
    let repo = Repo::new();
    repo.write("secret", "x");
    repo.good("m");
    std::os::unix::fs::symlink(other.path().join("secret"), repo.path().join("m/link")).unwrap();
    for file in ["../secret", "/etc/hostname", "link"] {
        repo.write("m/config.pbtxt", config(file));
        let path = repo.path().join("m").join(file);
        assert_eq!(
            index(&repo.open()),
            [format!(
                "m/1 UNAVAILABLE: Unsupported: label file path '{}' for output 'output' in model 'm' is outside model \
                 directory",
                path.display()
            )]
        );
    }
}

/// Opening some of them waits for ever.
#[test]
fn only_regular_files_are_read() {
    let repo = Repo::new();
    repo.model("m", &config("labels"), MLP);
    let path = repo.path().join("m/labels");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let why = format!("failed to open text file for read {}: not a regular file", path.display());
    assert_eq!(index(&repo.open()), [format!("m/1 UNAVAILABLE: Internal: {why}")]);
    fs::rename(&path, repo.path().join("m/config.pbtxt")).unwrap();
    assert_eq!(failures(&repo.open()), [format!("m: {}", why.replace("m/labels", "m/config.pbtxt"))]);
}

/// Any number of outputs may name a file, so the backend has to agree to them first.
#[test]
fn files_are_read_after_the_model() {
    let repo = Repo::new();
    repo.model("m", &config("missing"), "panic");
    assert_eq!(index(&repo.open()), ["m/1 UNAVAILABLE: Internal: panic while loading: asked to panic"]);
}

#[test]
fn files_have_a_limit() {
    let repo = Repo::new();
    repo.model("m", &config("labels.txt"), MLP);
    let file = std::fs::File::create(repo.path().join("m/labels.txt")).unwrap();
    file.set_len((16 << 20) + 1).unwrap();
    let path = repo.path().join("m/labels.txt");
    assert_eq!(
        index(&repo.open()),
        [format!(
            "m/1 UNAVAILABLE: Invalid argument: label file '{}' is larger than the limit of 16777216 bytes",
            path.display()
        )]
    );
    file.set_len(16 << 20).unwrap();
    assert_eq!(index(&repo.open()), ["m/1 READY"]);
}
