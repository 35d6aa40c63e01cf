//! What the metric of readiness shows: models that should serve, and whether they do.

use std::fs;
use std::thread;

use nereid_repository::{ControlMode, LoadParameters, Options, Repository};

use crate::ensembles::{ensemble, identity, pair};
use crate::repo::{IO, MLP, PATIENCE, Repo, head, load};

/// `m/1` for a version that is ready, `-m/1` for one that is not, `-m` where the version is not known.
fn shown(repository: &Repository) -> String {
    let one = |readiness: nereid_repository::Readiness| {
        let version = readiness.version.map(|version| format!("/{version}")).unwrap_or_default();
        format!("{}{}{version}", if readiness.ready { "" } else { "-" }, readiness.model)
    };
    repository.readiness().into_iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The same, when versions that only finish their last requests are gone.
fn wait_for(repository: &Repository, expected: &str) {
    let start = nereid_core::Timestamp::now();
    while shown(repository) != expected {
        let patience = nereid_core::Timestamp::now().since(start) < PATIENCE;
        assert!(patience, "{} is not {expected}", shown(repository));
        thread::yield_now();
    }
}

#[test]
fn models_that_fail_at_start_are_there_and_not_ready() {
    let repo = Repo::new();
    repo.good("good");
    repo.model("all", &(head("all", 8) + IO + "version_policy: { all { } }"), MLP);
    repo.write("all/7/model.onnx", MLP);
    repo.model("garbage", &(head("garbage", 8) + IO), "garbage");
    repo.model("nonsense", "nonsense {", MLP);
    repo.write("no_version/config.pbtxt", head("no_version", 8) + IO);
    repo.model("half", &(head("half", 8) + IO + "version_policy: { all { } }"), MLP);
    repo.write("half/2/model.onnx", "garbage");
    identity(&repo, "a");
    ensemble(&repo, "e", &["a", "missing"]);
    let repository = repo.open();
    wait_for(&repository, "a/1 all/1 all/7 -e -garbage/1 good/1 -half/2 -no_version -nonsense");
    // What is made good is ready, and what is asked for again and fails again is still not.
    let repository = Options { control: ControlMode::Explicit, ..repo.options() };
    let repository = repo.open_with(repository);
    assert_eq!(shown(&repository), "", "nobody wants any of them");
    load(&repository, "garbage").unwrap_err();
    load(&repository, "nonsense").unwrap_err();
    assert_eq!(shown(&repository), "-garbage/1 -nonsense");
    repo.good("garbage");
    repo.good("nonsense");
    load(&repository, "garbage").unwrap();
    load(&repository, "nonsense").unwrap();
    assert_eq!(shown(&repository), "garbage/1 nonsense/1");
}

#[test]
fn a_model_that_is_not_there_counts_if_the_command_line_names_it() {
    let repo = Repo::new();
    repo.good("good");
    let repository = repo.explicit(&["good", "nosuch"]);
    assert_eq!(shown(&repository), "good/1 -nosuch");
    load(&repository, "nosuch").unwrap_err();
    load(&repository, "another").unwrap_err();
    let files = [("file:1/model.onnx".to_owned(), MLP.into())].into();
    let broken = LoadParameters { config: Some("{".to_owned()), files };
    repository.load_model("invented", &broken).unwrap_err();
    assert_eq!(shown(&repository), "good/1 -nosuch", "requests may ask for any number of names");
    repo.good("nosuch");
    load(&repository, "nosuch").unwrap();
    assert_eq!(shown(&repository), "good/1 nosuch/1");
}

#[test]
fn what_is_unloaded_is_not_shown() {
    let repo = Repo::new();
    for name in ["good", "broken", "nonsense"] {
        repo.good(name);
    }
    repo.write("broken/1/model.onnx", "garbage");
    repo.write("nonsense/config.pbtxt", "nonsense {");
    let repository = repo.explicit(&["*"]);
    assert_eq!(shown(&repository), "-broken/1 good/1 -nonsense");
    for (name, left) in
        [("good", "-broken/1 -nonsense"), ("nonsense", "-broken/1"), ("broken", ""), ("nosuch", "")]
    {
        repository.unload_model(name, false).unwrap();
        assert_eq!(shown(&repository), left, "without {name}");
    }
    load(&repository, "good").unwrap();
    load(&repository, "broken").unwrap_err();
    assert_eq!(shown(&repository), "-broken/1 good/1");
}

#[test]
fn what_serves_is_ready_whatever_is_loaded_beside_it() {
    let repo = Repo::new();
    repo.good("m");
    let repository = repo.explicit(&["m"]);
    repo.write("m/1/model.onnx", "garbage");
    load(&repository, "m").unwrap_err();
    assert_eq!(shown(&repository), "m/1");
    repo.write("m/config.pbtxt", "nonsense {");
    load(&repository, "m").unwrap_err();
    assert_eq!(shown(&repository), "m/1");
    // It is gone, and only then the failure is seen.
    repository.unload_model("m", false).unwrap();
    assert_eq!(shown(&repository), "");
    load(&repository, "m").unwrap_err();
    assert_eq!(shown(&repository), "-m");
}

#[test]
fn a_version_is_not_ready_while_it_loads_for_the_first_time() {
    let repo = Repo::new();
    repo.model("slow", &(head("slow", 8) + IO), &format!("{MLP}held"));
    let repository = repo.explicit(&[]);
    thread::scope(|scope| {
        let loading = scope.spawn(|| load(&repository, "slow"));
        wait_for(&repository, "-slow/1");
        repo.backend.gate.open();
        loading.join().unwrap().unwrap();
    });
    assert_eq!(shown(&repository), "slow/1");
}

#[test]
fn ensembles_are_not_ready_without_their_models() {
    let repo = pair();
    let repository = repo.explicit(&["e"]);
    assert_eq!(shown(&repository), "a/1 b/1 e/1");
    repository.unload_model("a", false).unwrap();
    wait_for(&repository, "b/1 -e");
    load(&repository, "e").unwrap();
    wait_for(&repository, "a/1 b/1 e/1");
    repository.unload_model("a", false).unwrap();
    load(&repository, "a").unwrap();
    wait_for(&repository, "a/1 b/1 e/1");
}

#[test]
fn polling_follows_what_is_on_disk() {
    let (repo, other) = (Repo::new(), Repo::new());
    repo.good("m");
    repo.model("nonsense", "nonsense {", MLP);
    let paths = vec![repo.path().to_owned(), other.path().to_owned()];
    let repository = repo.open_with(Options { control: ControlMode::Poll, paths, ..Options::default() });
    assert_eq!(shown(&repository), "m/1 -nonsense");
    other.good("m");
    fs::remove_dir_all(repo.path().join("nonsense")).unwrap();
    repository.poll_once().unwrap();
    assert_eq!(shown(&repository), "-m", "there are two of it");
    fs::remove_dir_all(other.path().join("m")).unwrap();
    repository.poll_once().unwrap();
    assert_eq!(shown(&repository), "m/1");
    fs::remove_dir_all(repo.path().join("m")).unwrap();
    repository.poll_once().unwrap();
    assert_eq!(shown(&repository), "");
}
