//! Loading again, unloading, and ending while requests are in flight.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nereid_core::ErrorCode;
use nereid_repository::State;

use crate::repo::{IDENTITY, IO, MLP, PATIENCE, Repo, head, index, load};
use crate::requests::infer;

/// Waits until the only version of `m` is in `state`; the test runner ends it if that never happens.
fn wait_for(repository: &nereid_repository::Repository, state: State, reason: &str) {
    while repository.version_states("m") != [(1, state, reason.to_owned())] {
        thread::yield_now();
    }
}

#[test]
fn unload_and_load_again() {
    let repo = Repo::new();
    repo.good("m");
    let repository = repo.explicit(&["m"]);
    repository.unload_model("m", false).unwrap();
    repository.unload_model("nosuch", false).unwrap();
    let error = repository.find("m", None).unwrap_err();
    assert_eq!(error.message(), "Request for unknown model: 'm' has no available versions");
    wait_for(&repository, State::Unavailable, "unloaded");
    assert_eq!(index(&repository), ["m/1 UNAVAILABLE: unloaded"]);
    assert!(repository.is_ready(), "an unloaded model is no trouble");
    load(&repository, "m").unwrap();
    assert_eq!(index(&repository), ["m/1 READY"]);
}

#[test]
fn load_errors() {
    let repo = Repo::new();
    repo.good("m");
    repo.model("bad", "nonsense", MLP);
    repo.write("none/config.pbtxt", head("none", 8) + IO);
    repo.model("garbage", &(head("garbage", 8) + IO), "panic");
    let repository = repo.explicit(&[]);
    for (name, code, expected) in [
        ("x", ErrorCode::Internal, "failed to load 'x', failed to poll from model repository"),
        ("bad", ErrorCode::Internal, "failed to load 'bad', failed to poll from model repository"),
        (" ", ErrorCode::InvalidArg, "Model name cannot be empty. Please enter a valid name to deploy."),
        (
            "../m",
            ErrorCode::InvalidArg,
            "invalid model name '../m', model name must not contain path traversal characters",
        ),
        (
            "none",
            ErrorCode::InvalidArg,
            "load failed for model 'none': at least one version must be available under the version policy of model \
             'none'\n",
        ),
        (
            "garbage",
            ErrorCode::InvalidArg,
            "load failed for model 'garbage': version 1 is at UNAVAILABLE state: Internal: panic while loading: asked to \
             panic;\n",
        ),
    ] {
        let error = load(&repository, name).unwrap_err();
        assert_eq!((error.code(), error.message()), (code, expected));
    }
}

#[test]
fn a_failed_reload_keeps_what_serves() {
    let repo = Repo::new();
    repo.good("m");
    let repository = repo.explicit(&["m"]);
    let before = repository.find("m", None).unwrap();
    repo.write("m/1/model.onnx", "panic");
    let error = load(&repository, "m").unwrap_err();
    assert!(error.message().starts_with("load failed for model 'm': version 1 is at UNAVAILABLE"), "{error}");
    assert!(std::sync::Arc::ptr_eq(&before, &repository.find("m", None).unwrap()));
    repo.write("m/config.pbtxt", "nonsense");
    load(&repository, "m").unwrap_err();
    assert_eq!(index(&repository), ["m/1 READY"]);
}

#[test]
fn a_reload_swaps_versions_in_one_step() {
    let repo = Repo::new();
    repo.good("m");
    let repository = repo.explicit(&["m"]);
    let before = repository.find("m", None).unwrap();
    repo.write("m/2/model.onnx", MLP);
    load(&repository, "m").unwrap();
    assert_eq!(repository.ready_versions("m"), [2]);
    assert_eq!(before.version, 1, "who holds it may use it");
    assert_eq!(repository.version_states("m")[0], (1, State::Unloading, String::new()));
    drop(before);
    while repository.version_states("m")[0].1 != State::Unavailable {
        thread::yield_now();
    }
    assert_eq!(index(&repository), ["m/1 UNAVAILABLE: unloaded", "m/2 READY"]);
    assert_eq!(repository.shutdown(PATIENCE), 0);
}

#[test]
fn requests_in_flight_survive_an_unload() {
    let repo = Repo::new();
    repo.model("m", "", &format!("{IDENTITY}slow"));
    let repository = repo.explicit(&["m"]);
    let answer = infer(&repository.find("m", None).unwrap());
    repository.unload_model("m", false).unwrap();
    assert_eq!(index(&repository), ["m/1 UNLOADING"]);
    assert!(!repository.is_ready(), "Triton counts a version that is being unloaded as not ready");
    // The same name loads while the old object still works.
    load(&repository, "m").unwrap();
    assert_eq!(index(&repository), ["m/1 READY"]);
    assert!(answer.try_recv().is_err());
    repo.backend.gate.open();
    assert_eq!(answer.recv().unwrap().unwrap().outputs[0].data[..], 1_f32.to_le_bytes());
    assert_eq!(index(&repository), ["m/1 READY"], "news of the old object do not touch the new one");
}

#[test]
fn shutdown_waits_for_requests_as_long_as_it_may() {
    let repo = Repo::new();
    repo.model("m", "", &format!("{IDENTITY}slow"));
    repo.model("idle", "", IDENTITY);
    let repository = repo.open();
    let model = repository.find("m", None).unwrap();
    let answer = infer(&model);
    assert_eq!(repository.shutdown(Duration::from_millis(1)).min(1), 1);
    let refused = infer(&model).recv().unwrap().unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    drop(model);
    repo.backend.gate.open();
    assert_eq!(repository.shutdown(PATIENCE), 0);
    assert!(answer.recv().unwrap().is_ok());
    assert!(repository.loaded().is_empty());
}

#[test]
fn a_load_that_ends_after_the_shutdown_began_serves_nobody() {
    let repo = Repo::new();
    repo.good("other");
    repo.model("m", "", &format!("{IDENTITY}held"));
    let repository = repo.explicit(&[]);
    thread::scope(|scope| {
        let loading = scope.spawn(|| load(&repository, "m"));
        while repo.backend.loads.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        let (left, other) = (repository.shutdown(PATIENCE), load(&repository, "other"));
        repo.backend.gate.open(); // before anything can fail
        loading.join().unwrap().unwrap();
        assert_eq!(left, 0, "what does not serve yet is not waited for");
        for refused in [other.unwrap_err(), repository.unload_model("m", false).unwrap_err()] {
            assert_eq!((refused.code(), refused.message()), (ErrorCode::Unavailable, "Server not ready"));
        }
    });
    assert!(repository.loaded().is_empty());
    wait_for(&repository, State::Unavailable, "unloaded");
}

#[test]
fn late_news_of_an_old_object_are_ignored() {
    let repo = Repo::new();
    repo.model("m", "", &format!("{IDENTITY}slow"));
    let repository = repo.explicit(&["m"]);
    let answer = infer(&repository.find("m", None).unwrap());
    repo.model("m", "", &format!("{IDENTITY}slow"));
    load(&repository, "m").unwrap();
    let held = repository.find("m", None).unwrap();
    repository.unload_model("m", false).unwrap();
    repo.backend.gate.open();
    assert!(answer.recv().unwrap().is_ok());
    while repository.shutdown(Duration::ZERO) > 1 {
        thread::yield_now();
    }
    assert_eq!(index(&repository), ["m/1 UNLOADING"], "the new object is still held");
    drop(held);
    assert_eq!(repository.shutdown(PATIENCE), 0);
    assert_eq!(index(&repository), ["m/1 UNAVAILABLE: unloaded"]);
}
