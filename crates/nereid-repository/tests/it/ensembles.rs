//! Ensembles: what is loaded, unloaded and refused together, and whose models and labels they use.

use std::fs;
use std::thread;
use std::time::Duration;

use nereid_core::Error;
use nereid_core::ErrorCode::{Internal, InvalidArg};
use nereid_repository::{ControlMode, LoadParameters, Options, Repository, State};

use crate::repo::{IDENTITY, PATIENCE, Repo, failures, head, index, load};
use crate::requests::infer;

const TENSORS: &str = "input { name: \"INPUT0\" data_type: TYPE_FP32 dims: [ -1 ] }\n\
                       output { name: \"OUTPUT0\" data_type: TYPE_FP32 dims: [ -1 ] }\n";

pub(crate) fn identity(repo: &Repo, name: &str) {
    repo.model(name, &(head(name, 8) + TENSORS), IDENTITY);
}

/// `INPUT0 → models[0] → t1 → models[1] → … → OUTPUT0`. `more` is said of the output.
fn ensemble_config(name: &str, models: &[&str], more: &str) -> String {
    let tensor = |index: usize| match index {
        0 => "INPUT0".to_owned(),
        index if index == models.len() => "OUTPUT0".to_owned(),
        index => format!("t{index}"),
    };
    let step = |(index, model): (usize, &&str)| {
        let (model, version) = model.split_once(':').unwrap_or((model, "-1"));
        format!(
            "step {{ model_name: \"{model}\" model_version: {version} input_map {{ key: \"INPUT0\" value: \"{}\" }} \
             output_map {{ key: \"OUTPUT0\" value: \"{}\" }} }}\n",
            tensor(index),
            tensor(index + 1)
        )
    };
    let steps: String = models.iter().enumerate().map(step).collect();
    let tensors = TENSORS.replace("\"OUTPUT0\" ", &format!("\"OUTPUT0\" {more}"));
    format!(
        "name: \"{name}\" platform: \"ensemble\" max_batch_size: 8\n{tensors}ensemble_scheduling {{ {steps} }}\n"
    )
}

pub(crate) fn ensemble(repo: &Repo, name: &str, models: &[&str]) {
    repo.write(&format!("{name}/1/empty"), "");
    repo.write(&format!("{name}/config.pbtxt"), ensemble_config(name, models, ""));
}

/// Two identities and an ensemble `e` of them.
pub(crate) fn pair() -> Repo {
    let repo = Repo::new();
    identity(&repo, "a");
    identity(&repo, "b");
    ensemble(&repo, "e", &["a", "b"]);
    repo
}

/// What is ready, as `name/version` and apart by blanks.
fn ready(repository: &Repository) -> String {
    let loaded = repository.loaded();
    loaded.iter().map(|model| format!("{}/{}", model.id, model.version)).collect::<Vec<_>>().join(" ")
}

/// Whether `name` answers.
fn answers(repository: &Repository, name: &str) -> bool {
    let model = repository.find(name, None).unwrap();
    infer(&model).recv_timeout(PATIENCE).unwrap().is_ok()
}

#[track_caller]
fn refused(result: Result<(), Error>, code: nereid_core::ErrorCode, text: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.code(), error.message()), (code, text));
}

#[test]
fn everything_is_loaded_at_start_in_the_right_order() {
    let repo = pair();
    ensemble(&repo, "c", &["e", "a"]);
    ensemble(&repo, "d", &["c", "e"]);
    let repository = repo.open();
    assert_eq!(failures(&repository), [""; 0]);
    assert!(repository.is_ready());
    assert_eq!(ready(&repository), "a/1 b/1 c/1 d/1 e/1");
    assert!(answers(&repository, "d"));
    let count = |name: &str| {
        let statistics = repository.find(name, None).unwrap().scheduler().statistics().snapshot();
        (statistics.success.count, statistics.execution_count)
    };
    assert_eq!(["a", "b", "c", "d", "e"].map(count), [(3, 3), (2, 2), (1, 1), (1, 1), (2, 2)]);
    assert_eq!(repository.shutdown(PATIENCE), 0);
}

#[test]
fn what_it_says_of_itself() {
    let repo = pair();
    let repository = repo.open();
    let model = repository.find("e", None).unwrap();
    assert_eq!((&*model.platform, &*model.config.backend), ("ensemble", ""));
    let shown = nereid_protocol::config_json::to_json(&model.wire_config);
    assert!(shown.contains(r#""model_transaction_policy":{"decoupled":false}"#), "{shown}");
    assert!(!shown.contains("optimization"), "{shown}");
    let series = repository.reporters().series();
    assert!(series.iter().any(|series| &*series.id.model == "e"));
}

#[test]
fn loading_one_loads_what_it_is_made_of() {
    let repo = pair();
    identity(&repo, "other");
    let repository = repo.explicit(&["e"]);
    assert_eq!(failures(&repository), [""; 0]);
    assert_eq!(ready(&repository), "a/1 b/1 e/1");
    assert!(answers(&repository, "e"));
    let repository = repo.explicit(&["other"]);
    load(&repository, "e").unwrap();
    assert_eq!(ready(&repository), "a/1 b/1 e/1 other/1");
    let before = repository.find("e", None).unwrap();
    load(&repository, "e").unwrap();
    assert!(std::sync::Arc::ptr_eq(&before, &repository.find("e", None).unwrap()), "nothing has changed");
}

#[test]
fn unloading_takes_along_what_was_loaded_for_its_sake() {
    let repo = pair();
    ensemble(&repo, "outer", &["e", "c"]);
    identity(&repo, "c");
    let repository = repo.explicit(&["c"]);
    for (dependents, left) in [(false, "a/1 b/1 c/1"), (true, "c/1")] {
        load(&repository, "e").unwrap();
        assert_eq!(ready(&repository), "a/1 b/1 c/1 e/1");
        repository.unload_model("e", dependents).unwrap();
        assert_eq!(ready(&repository), left);
    }
    load(&repository, "outer").unwrap();
    load(&repository, "a").unwrap();
    repository.unload_model("outer", true).unwrap();
    assert_eq!(ready(&repository), "a/1 c/1", "what was asked for by name stays");
}

#[test]
fn an_ensemble_goes_and_comes_back_with_its_models() {
    let repo = pair();
    let repository = repo.explicit(&["*"]);
    repository.unload_model("a", false).unwrap();
    assert_eq!(ready(&repository), "b/1");
    let error = repository.find("e", None).unwrap_err();
    assert_eq!(error.message(), "Request for unknown model: 'e' has no available versions");
    while repository.version_states("e") != [(1, State::Unavailable, "unloaded".to_owned())] {
        thread::yield_now();
    }
    load(&repository, "a").unwrap();
    assert_eq!(ready(&repository), "a/1 b/1 e/1");
    assert!(answers(&repository, "e"));
    repository.unload_model("e", false).unwrap();
    repository.unload_model("a", false).unwrap();
    load(&repository, "a").unwrap();
    assert_eq!(ready(&repository), "a/1 b/1", "this time it was told to go");
}

#[test]
fn models_that_are_loaded_again_are_used_from_then_on() {
    let repo = pair();
    let repository = repo.explicit(&["*"]);
    let old = repository.find("e", None).unwrap();
    let config = head("a", 16) + TENSORS;
    load_with(&repository, "a", &config).unwrap();
    assert!(infer(&old).recv_timeout(PATIENCE).unwrap().is_ok(), "who holds the old ensemble may use it");
    let used = repository.find("a", None).unwrap().scheduler().statistics().snapshot();
    assert_eq!(used.success.count, 1, "with the new model");
    assert!(answers(&repository, "e"));
    // One that does not fit any more.
    load_with(&repository, "a", &(head("a", 4) + TENSORS)).unwrap();
    assert_eq!(ready(&repository), "a/1 b/1");
    refused(load(&repository, "e"), Internal, "failed to load 'e', no version is available");
    repository.unload_model("e", false).unwrap();
    refused(
        load(&repository, "e"),
        InvalidArg,
        "load failed for model 'e': ensemble e allows maximum batch size 8, but it contains model a which only allows \
         maximum batch size to be 4\n",
    );
    load_with(&repository, "a", &config).unwrap();
    assert_eq!(ready(&repository), "a/1 b/1 e/1");
}

fn load_with(repository: &Repository, name: &str, config: &str) -> Result<(), Error> {
    let config = nereid_protocol::config_text::parse(config).unwrap();
    let config = Some(nereid_protocol::config_json::to_json(&config));
    repository.load_model(name, &LoadParameters { config, ..LoadParameters::default() })
}

#[test]
fn a_failed_reload_of_a_model_changes_nothing() {
    let repo = pair();
    let repository = repo.explicit(&["*"]);
    repo.write("a/1/model.onnx", "panic");
    assert!(load(&repository, "a").is_err());
    assert_eq!(ready(&repository), "a/1 b/1 e/1");
    assert!(answers(&repository, "e"));
}

#[test]
fn refusals() {
    let repo = pair();
    repo.model("broken", &(head("broken", 8) + TENSORS), "panic");
    for (name, models) in [
        ("missing", &["a", "nosuch", "gone"][..]),
        ("of_broken", &["broken"]),
        ("of_invalid", &["of_broken", "a"]),
        ("no_version", &["a:7"]),
        ("self", &["self"]),
        ("x", &["y"]),
        ("y", &["x"]),
    ] {
        ensemble(&repo, name, models);
    }
    let int = ensemble_config("int", &["a"], "").replace("TYPE_FP32", "TYPE_INT32");
    repo.write("int/1/empty", "");
    repo.write("int/config.pbtxt", int);
    let panic = "version 1 is at UNAVAILABLE state: Internal: panic while loading: asked to panic;";
    let of_broken = format!(
        "ensemble 'of_broken' depends on 'broken' which has no loaded version. Model 'broken' loading failed with error: \
         {panic}"
    );
    let expected = [
        format!("broken: {panic}"),
        "int: in ensemble int, ensemble tensor INPUT0: inconsistent data type: TYPE_INT32 is inferred from model int while \
         TYPE_FP32 is inferred from model a"
            .to_owned(),
        "missing: ensemble missing contains models that are not available or ambiguous: gone, nosuch".to_owned(),
        "no_version: ensemble 'no_version' depends on 'a' whose required version 7 is not loaded.".to_owned(),
        format!("of_broken: {of_broken}"),
        format!(
            "of_invalid: ensemble 'of_invalid' depends on 'of_broken' which is not valid. Model 'of_broken' failed with \
             error: {of_broken}"
        ),
        "self: circular dependency between ensembles: self -> ... -> self -> self".to_owned(),
        "x: circular dependency between ensembles: x -> ... -> y -> x".to_owned(),
        "y: circular dependency between ensembles: y -> ... -> x -> y".to_owned(),
    ];
    // What is not there at all fails as well, but only for those who look for it.
    let of = |repository: &Repository| {
        let failures = failures(repository).into_iter();
        failures.filter(|f| !f.starts_with("nosuch:") && !f.starts_with("gone:")).collect::<Vec<_>>()
    };
    assert_eq!(of(&repo.open()), expected);
    let repository = repo.explicit(&["*"]);
    assert_eq!(of(&repository), expected);
    assert_eq!(ready(&repository), "a/1 b/1 e/1");
    let shown = index(&repository);
    assert!(
        ["missing", "of_broken", "self", "x"].iter().all(|name| shown.contains(&(*name).to_owned())),
        "{shown:?}"
    );
    for (name, text) in [
        ("missing", "failed to load 'missing', failed to poll from model repository"),
        ("int", "failed to load 'int', no version is available"),
        ("x", "failed to load 'x', no version is available"),
    ] {
        refused(load(&repository, name), Internal, text);
    }
}

#[test]
fn requests_in_flight_finish_when_a_model_is_unloaded_and_when_all_ends() {
    type End = fn(&Repository);
    let ends: [(End, bool); 3] = [
        (|repository| repository.unload_model("b", false).unwrap(), true),
        (|repository| repository.unload_model("e", true).unwrap(), true),
        (|repository| assert!(repository.shutdown(Duration::ZERO) > 0), false), // no time is left for it
    ];
    for (end, succeeds) in ends {
        let repo = Repo::new();
        repo.model("a", &(head("a", 8) + TENSORS), &format!("{IDENTITY}slow\n"));
        identity(&repo, "b");
        ensemble(&repo, "e", &["a", "b"]);
        let repository = repo.explicit(&["e"]);
        let answer = infer(&repository.find("e", None).unwrap());
        end(&repository);
        assert!(repository.find("e", None).is_err());
        repo.backend.gate.open();
        assert_eq!(answer.recv_timeout(PATIENCE).unwrap().is_ok(), succeeds, "its second step");
        assert_eq!(repository.shutdown(PATIENCE), 0, "and nothing is left");
    }
}

#[test]
fn shutdown_waits_for_ensembles_before_it_stops_their_models() {
    let repo = Repo::new();
    repo.model("a", &(head("a", 8) + TENSORS), &format!("{IDENTITY}slow\n"));
    identity(&repo, "b");
    ensemble(&repo, "e", &["a", "b"]);
    ensemble(&repo, "outer", &["e", "b"]);
    let repository = repo.open();
    let answer = infer(&repository.find("outer", None).unwrap());
    let late = repository.find("outer", None).unwrap();
    thread::scope(|scope| {
        let shutdown = scope.spawn(|| repository.shutdown(PATIENCE));
        // Refused as soon as the end has begun.
        while infer(&late).try_recv().is_err() {
            thread::yield_now();
        }
        drop(late);
        repo.backend.gate.open();
        assert!(answer.recv_timeout(PATIENCE).unwrap().is_ok());
        assert_eq!(shutdown.join().unwrap(), 0);
    });
}

#[test]
fn labels_are_those_of_the_model_that_makes_the_output() {
    let repo = Repo::new();
    let labelled = TENSORS.replace("\"OUTPUT0\"", "\"OUTPUT0\" label_filename: \"labels.txt\"");
    repo.model("a", &(head("a", 8) + &labelled), IDENTITY);
    repo.write("a/labels.txt", "zero\none\n");
    identity(&repo, "b");
    ensemble(&repo, "ends_in_a", &["b", "a"]);
    ensemble(&repo, "ends_in_b", &["a", "b"]);
    ensemble(&repo, "outer", &["b", "ends_in_a"]);
    repo.write("own/1/empty", "");
    repo.write("own/labels.txt", "null\n");
    repo.write("own/config.pbtxt", ensemble_config("own", &["a"], "label_filename: \"labels.txt\" "));
    let repository = repo.open();
    let label = |name: &str| repository.find(name, None).unwrap().labels.get(0, 0).map(str::to_owned);
    assert_eq!(label("ends_in_a").as_deref(), Some("zero"));
    assert_eq!(label("outer").as_deref(), Some("zero"));
    assert_eq!(label("ends_in_b"), None);
    assert_eq!(label("own").as_deref(), Some("null"));
}

#[test]
fn polling_follows_both() {
    let repo = pair();
    let options = || Options { control: ControlMode::Poll, ..repo.options() };
    let repository = repo.open_with(options());
    fs::rename(repo.path().join("a"), repo.path().join(".a")).unwrap();
    repository.poll_once().unwrap();
    assert_eq!(ready(&repository), "b/1");
    repository.poll_once().unwrap();
    fs::rename(repo.path().join(".a"), repo.path().join("a")).unwrap();
    repository.poll_once().unwrap();
    assert_eq!(ready(&repository), "a/1 b/1 e/1");
    let before = repository.find("e", None).unwrap();
    repository.poll_once().unwrap();
    assert!(std::sync::Arc::ptr_eq(&before, &repository.find("e", None).unwrap()));
    repo.write("a/config.pbtxt", head("a", 4) + TENSORS);
    repository.poll_once().unwrap();
    assert_eq!(ready(&repository), "a/1 b/1", "it does not fit any more");
    fs::remove_dir_all(repo.path().join("e")).unwrap();
    repository.poll_once().unwrap();
    repo.write("a/config.pbtxt", head("a", 8) + TENSORS);
    repository.poll_once().unwrap();
    assert_eq!(ready(&repository), "a/1 b/1", "it is gone");
}

#[test]
fn neighbours_come_first() {
    let (here, there) = (Repo::new(), Repo::new());
    for (repo, size) in [(&here, 8), (&there, 16)] {
        repo.model("a", &(head("a", size) + TENSORS), IDENTITY);
        ensemble(repo, "e", &["a", "only"]);
    }
    identity(&there, "only");
    let paths = vec![here.path().to_owned(), there.path().to_owned()];
    let options =
        Options { paths, control: ControlMode::Explicit, model_namespacing: true, ..Options::default() };
    let repository = here.open_with(Options { startup_models: vec!["e".into()], ..options });
    assert_eq!(failures(&repository), [""; 0]);
    assert_eq!(repository.loaded().len(), 5);
    for (repo, only) in [(&here, &there), (&there, &there)] {
        let namespace = repo.path().to_str().unwrap();
        let model =
            repository.loaded().into_iter().find(|m| &*m.id.name == "e" && &*m.id.namespace == namespace);
        let shown = nereid_protocol::config_json::to_json(&model.as_ref().unwrap().wire_config);
        for namespace in [namespace, only.path().to_str().unwrap()] {
            assert!(
                shown.contains(&format!("\"model_namespace\":\"{}\"", namespace.replace('/', "\\/")))
                    || shown.contains(&format!("\"model_namespace\":\"{namespace}\"")),
                "{shown}"
            );
        }
        assert!(infer(&model.unwrap()).recv_timeout(PATIENCE).unwrap().is_ok());
    }
    let counts = |namespace: &Repo, name: &str| {
        let models = repository.loaded().into_iter();
        let mut models = models.filter(|m| &*m.id.namespace == namespace.path().to_str().unwrap());
        models.find(|m| &*m.id.name == name).unwrap().scheduler().statistics().snapshot().success.count
    };
    assert_eq!((counts(&here, "a"), counts(&there, "a"), counts(&there, "only")), (1, 1, 2));
    // A namesake makes the only one ambiguous, but not for its neighbour.
    identity(&here, "only");
    load(&repository, "only").unwrap();
    assert_eq!(repository.loaded().len(), 6);
}

#[test]
fn models_that_came_with_a_request_need_not_be_on_disk() {
    let repo = Repo::new();
    ensemble(&repo, "e", &["sent"]);
    let repository = repo.explicit(&[]);
    let config = nereid_protocol::config_text::parse(&(head("sent", 8) + TENSORS)).unwrap();
    let parameters = LoadParameters {
        config: Some(nereid_protocol::config_json::to_json(&config)),
        files: [("1/model.onnx".to_owned(), IDENTITY.into())].into(),
    };
    repository.load_model("sent", &parameters).unwrap();
    load(&repository, "e").unwrap();
    assert!(answers(&repository, "e"));
    // And an ensemble may come with one.
    let config = nereid_protocol::config_text::parse(&ensemble_config("f", &["e", "sent"], "")).unwrap();
    let parameters = LoadParameters {
        config: Some(nereid_protocol::config_json::to_json(&config)),
        files: [("1/none".to_owned(), bytes::Bytes::new())].into(),
    };
    repository.load_model("f", &parameters).unwrap();
    assert!(answers(&repository, "f"));
}

#[test]
fn changes_to_what_hangs_together_take_turns() {
    let repo = pair();
    ensemble(&repo, "outer", &["e", "a"]);
    let repository = repo.explicit(&["outer"]);
    thread::scope(|scope| {
        for name in ["a", "b", "e", "outer"] {
            let repository = &repository;
            scope.spawn(move || {
                for round in 0..10 {
                    repository.unload_model(name, round % 2 == 0).unwrap();
                    let _ = load(repository, name);
                }
            });
        }
    });
    load(&repository, "outer").unwrap();
    assert_eq!(ready(&repository), "a/1 b/1 e/1 outer/1");
    assert!(answers(&repository, "outer"));
    assert_eq!(repository.shutdown(PATIENCE), 0);
}
