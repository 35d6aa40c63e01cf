//! What is loaded at start, and how often it is tried.

use std::sync::atomic::Ordering;
use std::thread;

use nereid_repository::{ControlMode, Options, Repository};

use crate::repo::{IO, MLP, Repo, failures, head, index, load};

#[test]
fn explicit_mode_loads_what_is_named() {
    let repo = Repo::new();
    repo.good("a");
    repo.good("b");
    assert_eq!(index(&repo.explicit(&[])), ["a", "b"]);
    assert_eq!(index(&repo.explicit(&["b", "b"])), ["a", "b/1 READY"]);
    assert_eq!(index(&repo.explicit(&["*"])), ["a/1 READY", "b/1 READY"]);
    let missing = repo.explicit(&["a", "x"]);
    assert_eq!(index(&missing), ["a/1 READY", "b"]);
    assert_eq!(failures(&missing), ["x: model not found in any model repository."]);
    let options = Options {
        control: ControlMode::Explicit,
        startup_models: vec!["*".into(), "a".into()],
        ..repo.options()
    };
    let error = Repository::open(options, repo.backends()).unwrap_err();
    assert_eq!(
        error.message(),
        "Wildcard model name '*' must be the ONLY startup model if specified at all."
    );
}

#[test]
fn other_modes_load_everything_and_refuse_control() {
    let repo = Repo::new();
    repo.good("a");
    for control in [ControlMode::None, ControlMode::Poll] {
        let repository =
            repo.open_with(Options { control, startup_models: vec!["x".into()], ..repo.options() });
        assert_eq!(index(&repository), ["a/1 READY"]);
        for result in [load(&repository, "a"), repository.unload_model("a", false)] {
            let error = result.unwrap_err();
            assert_eq!(error.message(), "explicit model load / unload is not allowed if polling is enabled");
            assert_eq!(error.code(), nereid_core::ErrorCode::Unavailable);
        }
    }
}

#[test]
fn loads_are_tried_again_as_often_as_asked() {
    let repo = Repo::new();
    repo.model("m", &(head("m", 8) + IO), &format!("{MLP}flaky 2"));
    for (load_retries, ready, loads) in [(1, false, 2), (2, true, 3)] {
        repo.backend.loads.store(0, Ordering::SeqCst);
        let repository = repo.open_with(Options { load_retries, ..repo.options() });
        assert_eq!(repository.find("m", None).is_ok(), ready);
        assert_eq!(repo.backend.loads.load(Ordering::SeqCst), loads);
    }
}

#[test]
fn any_number_of_threads_loads_everything() {
    let repo = Repo::new();
    for index in 0..20 {
        repo.good(&format!("m{index}"));
    }
    for load_threads in [0, 1, 3, 100] {
        let repository = repo.open_with(Options { load_threads, ..repo.options() });
        assert_eq!(repository.loaded().len(), 20);
        assert_eq!(repository.shutdown(crate::repo::PATIENCE), 0);
    }
}

#[test]
fn as_many_models_as_threads_load_at_the_same_time() {
    let repo = Repo::new();
    for index in 0..3 {
        repo.model(&format!("m{index}"), "", &format!("{MLP}held"));
    }
    thread::scope(|scope| {
        let options = Options { load_threads: 2, ..repo.options() };
        let opening = scope.spawn(|| repo.open_with(options));
        while repo.backend.loads.load(Ordering::SeqCst) < 2 {
            thread::yield_now();
        }
        let begun = repo.backend.loads.load(Ordering::SeqCst);
        repo.backend.gate.open(); // before anything can fail
        assert_eq!(opening.join().unwrap().loaded().len(), 3);
        assert_eq!(begun, 2);
    });
}
