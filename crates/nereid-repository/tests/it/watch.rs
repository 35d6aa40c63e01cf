//! Poll mode: what is on disk is what is served.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nereid_core::ErrorCode::{Internal, Unavailable};
use nereid_repository::{ControlMode, Options, Repository};

use crate::repo::{IO, MLP, PATIENCE, Repo, head, index};

fn open(repo: &Repo) -> Repository {
    repo.open_with(Options { control: ControlMode::Poll, ..repo.options() })
}

/// Polls, and gives the index without versions that are gone, and how many loads there were.
fn poll(repo: &Repo, repository: &Repository) -> (Vec<String>, usize) {
    repo.backend.loads.store(0, Ordering::SeqCst);
    repository.poll_once().unwrap();
    let mut index = index(repository);
    index.retain(|line| !line.contains("UNLOAD") && !line.ends_with("unloaded"));
    (index, repo.backend.loads.load(Ordering::SeqCst))
}

#[track_caller]
fn check(repo: &Repo, repository: &Repository, expected: (&[&str], usize)) {
    let (index, loads) = poll(repo, repository);
    assert_eq!((index.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), loads), expected);
}

#[test]
fn models_and_versions_come_and_go() {
    let repo = Repo::new();
    repo.model("a", &(head("a", 8) + IO + "version_policy: { all { } }"), MLP);
    let repository = open(&repo);
    check(&repo, &repository, (&["a/1 READY"], 0));
    repo.good("b");
    repo.write("a/2/model.onnx", MLP);
    check(&repo, &repository, (&["a/1 READY", "a/2 READY", "b/1 READY"], 2));
    check(&repo, &repository, (&["a/1 READY", "a/2 READY", "b/1 READY"], 0));
    fs::remove_dir_all(repo.path().join("a/1")).unwrap();
    repo.write("b/config.pbtxt", head("b", 4) + IO);
    check(&repo, &repository, (&["a/2 READY", "b/1 READY"], 1));
    assert_eq!(repository.find("b", None).unwrap().config.max_batch_size, 4);
    fs::remove_dir_all(repo.path().join("b")).unwrap();
    check(&repo, &repository, (&["a/2 READY"], 0));
    assert_eq!(repository.find("b", None).unwrap_err().code(), nereid_core::ErrorCode::NotFound);
    repo.good("b");
    check(&repo, &repository, (&["a/2 READY", "b/1 READY"], 1));
    assert!(repository.is_ready());
}

#[test]
fn a_failed_reload_keeps_what_serves_and_is_tried_again() {
    let repo = Repo::new();
    repo.good("m");
    let repository = open(&repo);
    let before = repository.find("m", None).unwrap();
    repo.write("m/1/model.onnx", "panic");
    check(&repo, &repository, (&["m/1 READY"], 1));
    check(&repo, &repository, (&["m/1 READY"], 1));
    repo.write("m/config.pbtxt", "nonsense");
    check(&repo, &repository, (&["m/1 READY"], 0));
    assert!(Arc::ptr_eq(&before, &repository.find("m", None).unwrap()));
    repo.good("m");
    check(&repo, &repository, (&["m/1 READY"], 1));
    assert!(!Arc::ptr_eq(&before, &repository.find("m", None).unwrap()));
}

#[test]
fn a_broken_model_that_goes_away_is_forgotten() {
    let repo = Repo::new();
    repo.good("m");
    repo.model("broken", &(head("broken", 8) + IO), "panic");
    let repository = open(&repo);
    assert!(!repository.is_ready());
    fs::remove_dir_all(repo.path().join("broken")).unwrap();
    repo.model("mended", &(head("mended", 8) + IO), "panic");
    repository.poll_once().unwrap();
    assert!(!repository.is_ready());
    repo.model("mended", &(head("mended", 8) + IO), MLP);
    check(&repo, &repository, (&["m/1 READY", "mended/1 READY"], 1));
    assert!(repository.is_ready());
    let error = repository.find("broken", None).unwrap_err();
    assert_eq!(error.message(), "Request for unknown model: 'broken' is not found");
}

#[test]
fn a_name_in_two_repositories_is_unloaded() {
    let (one, two) = (Repo::new(), Repo::new());
    one.good("m");
    let paths = vec![one.path().to_owned(), two.path().to_owned()];
    let repository = one.open_with(Options { paths, control: ControlMode::Poll, ..Options::default() });
    two.good("m");
    repository.poll_once().unwrap();
    assert_eq!(index(&repository), ["m UNAVAILABLE: model appears in two or more repositories"]);
    repository.find("m", None).unwrap_err();
    fs::remove_dir_all(one.path().join("m")).unwrap();
    repository.poll_once().unwrap();
    assert_eq!(repository.ready_versions("m"), [1]);
}

#[test]
fn a_repository_that_cannot_be_read_changes_nothing() {
    let repo = Repo::new();
    repo.model("models/m", &(head("m", 8) + IO), MLP);
    let paths = vec![repo.path().join("models")];
    let repository = repo.open_with(Options { paths, control: ControlMode::Poll, ..Options::default() });
    fs::rename(repo.path().join("models"), repo.path().join("elsewhere")).unwrap();
    assert_eq!(repository.poll_once().unwrap_err().code(), Internal);
    assert_eq!(repository.ready_versions("m"), [1]);
}

/// The way that git-sync puts a new state in place.
#[test]
fn a_repository_may_be_a_link_that_is_moved() {
    let repo = Repo::new();
    for (state, size) in [("one", 8), ("two", 4)] {
        repo.model(&format!("{state}/m"), &(head("m", size) + IO), MLP);
    }
    let link = repo.path().join("models");
    symlink("one", &link).unwrap();
    let options = Options { paths: vec![link.clone()], control: ControlMode::Poll, ..Options::default() };
    let repository = repo.open_with(options);
    symlink("two", repo.path().join("next")).unwrap();
    fs::rename(repo.path().join("next"), link).unwrap();
    check(&repo, &repository, (&["m/1 READY"], 1));
    assert_eq!(repository.find("m", None).unwrap().config.max_batch_size, 4);
}

#[test]
fn only_in_poll_mode_and_until_the_end() {
    let repo = Repo::new();
    let error = repo.open().poll_once().unwrap_err();
    assert_eq!((error.code(), error.message()), (Unavailable, "polling is disabled"));
    let repository = open(&repo);
    repository.shutdown(PATIENCE);
    assert_eq!(repository.poll_once().unwrap_err().message(), "Server not ready");
}

#[test]
fn the_thread_follows_and_ends() {
    let repo = Repo::new();
    let repository = Arc::new(open(&repo));
    repository.follow(Duration::from_millis(1)).unwrap();
    repo.good("m");
    while repository.find("m", None).is_err() {
        thread::yield_now();
    }
    repository.shutdown(PATIENCE);
    // A thread that still ran would hold it now and then; one that has ended never does.
    let weak = Arc::downgrade(&repository);
    drop(repository);
    while weak.strong_count() > 0 {
        thread::yield_now();
    }
}
