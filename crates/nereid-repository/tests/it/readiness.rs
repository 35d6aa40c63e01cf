//! When the models allow the server to call itself ready, by what it was asked to wait for.

use std::sync::Arc;
use std::{fs, thread};

use nereid_repository::ReadyWhen::{All, Any, Server, Startup};
use nereid_repository::{ControlMode, Options, ReadyWhen, Repository};

use crate::repo::{IO, MLP, Repo, head, load};

/// In explicit mode, with `models` loaded at start.
fn explicit(repo: &Repo, models: &[&str], ready_when: ReadyWhen) -> Arc<Repository> {
    let startup_models = models.iter().map(|name| (*name).to_owned()).collect();
    let control = ControlMode::Explicit;
    Arc::new(repo.open_with(Options { control, startup_models, ready_when, ..repo.options() }))
}

#[test]
fn after_the_start() {
    let repo = Repo::new();
    repo.good("good");
    repo.model("broken", &(head("broken", 8) + IO), "panic");
    repo.model("unreadable", "nonsense", MLP);
    for (models, ready) in [
        (&[][..], &[All, Startup, Server][..]),
        (&["good"], &[All, Startup, Any, Server]),
        (&["good", "broken"], &[Any, Server]),
        (&["broken"], &[Server]),
        (&["good", "unreadable"], &[All, Any, Server]), // Triton does not count models whose config is broken
        (&["unreadable"], &[All, Server]),
        (&["nosuch"], &[All, Server]),
    ] {
        for when in [All, Startup, Any, Server] {
            let is_ready = explicit(&repo, models, when).is_ready();
            assert_eq!(is_ready, ready.contains(&when), "{when:?} with {models:?}");
        }
    }
}

#[test]
fn a_load_does_not_make_a_started_server_unready() {
    for (when, expected) in [(All, false), (Startup, true), (Any, true), (Server, true)] {
        let repo = Repo::new();
        repo.good("m");
        repo.model("later", &(head("later", 8) + IO), &format!("{MLP}held"));
        let repository = explicit(&repo, &["m"], when);
        assert!(repository.is_ready());
        let loading = thread::spawn({
            let repository = repository.clone();
            move || load(&repository, "later")
        });
        while repository.version_states("later").is_empty() {
            thread::yield_now();
        }
        assert_eq!(repository.is_ready(), expected, "{when:?}");
        repo.backend.gate.open();
        loading.join().unwrap().unwrap();
        assert!(repository.is_ready());
    }
}

#[test]
fn what_failed_at_start_is_waited_for_once() {
    let repo = Repo::new();
    repo.good("m");
    repo.model("one", &(head("one", 8) + IO), "panic");
    repo.model("two", "nonsense", MLP);
    let repository = explicit(&repo, &["m", "one", "two"], Startup);
    load(&repository, "one").unwrap_err();
    assert!(!repository.is_ready());
    repo.good("one");
    load(&repository, "one").unwrap();
    assert!(!repository.is_ready(), "one of two");
    repository.unload_model("one", false).unwrap();
    repo.good("two");
    load(&repository, "two").unwrap();
    assert!(repository.is_ready(), "who unloads a model does not want it");
    for name in ["m", "two"] {
        repository.unload_model(name, false).unwrap();
        assert!(repository.is_ready(), "that was after the start");
    }
    repo.model("m", &(head("m", 8) + IO), "panic");
    load(&repository, "m").unwrap_err();
    assert!(repository.is_ready());
}

#[test]
fn what_nobody_wants_any_more_is_not_waited_for() {
    for (name, config, model) in
        [("broken", head("broken", 8) + IO, "panic"), ("unreadable", "nonsense".into(), MLP)]
    {
        let repo = Repo::new();
        repo.good("m");
        repo.model(name, &config, model);
        let unloaded = explicit(&repo, &["m", name], Startup);
        assert!(!unloaded.is_ready());
        unloaded.unload_model(name, false).unwrap();
        assert!(unloaded.is_ready(), "{name} was unloaded");

        let polled =
            repo.open_with(Options { control: ControlMode::Poll, ready_when: Startup, ..repo.options() });
        polled.poll_once().unwrap();
        assert!(!polled.is_ready());
        fs::remove_dir_all(repo.path().join(name)).unwrap();
        polled.poll_once().unwrap();
        assert!(polled.is_ready(), "{name} is gone");
        repo.model(name, &config, model);
        polled.poll_once().unwrap();
        assert!(polled.is_ready(), "{name} came after the start");
    }
}
