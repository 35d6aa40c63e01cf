//! Finding models: the four outcomes, readiness, statistics.

use nereid_core::ErrorCode::{InvalidArg, NotFound, Unavailable};
use nereid_repository::{Options, ReadyWhen};

use crate::repo::{IO, MLP, Repo, head};

fn three_versions() -> Repo {
    let repo = Repo::new();
    repo.model("m", &(head("m", 8) + IO + "version_policy: { all { } }"), MLP);
    repo.write("m/3/model.onnx", MLP);
    repo.write("m/10/model.onnx", MLP);
    repo
}

#[test]
fn versions() {
    let repo = three_versions();
    repo.model("broken", &(head("broken", 8) + IO), "garbage");
    let repository = repo.open();
    let found = |version| repository.find("m", version).unwrap().version;
    assert_eq!((found(None), found(Some(1)), found(Some(3))), (10, 1, 3));
    assert_eq!(repository.ready_versions("m"), [1, 3, 10]);
    assert!(repository.ready_versions("x").is_empty());
    for (name, version, code, text) in [
        ("x", None, NotFound, "'x' is not found"),
        ("x", Some(1), NotFound, "'x' is not found"),
        ("m", Some(7), NotFound, "'m' version 7 is not found"),
        ("broken", None, NotFound, "'broken' has no available versions"),
        ("broken", Some(1), Unavailable, "'broken' version 1 is not at ready state"),
    ] {
        let error = repository.find(name, version).unwrap_err();
        assert_eq!(error.message(), format!("Request for unknown model: {text}"));
        assert_eq!(error.code(), code);
        assert_eq!(repository.model_ready(name, version).unwrap_err(), error);
    }
    assert_eq!(repository.model_ready("m", Some(3)), Ok(true));
}

#[test]
fn a_policy_that_chooses_nothing_means_all() {
    let repo = three_versions();
    repo.write("m/config.pbtxt", head("m", 8) + IO + "version_policy: { }");
    assert_eq!(repo.open().ready_versions("m"), [1, 3, 10]);
}

#[test]
fn statistics() {
    let repo = three_versions();
    repo.good("a");
    let repository = repo.open();
    let targets = |name, version| {
        let models = repository.statistics_targets(name, version)?;
        let lines = models.iter().map(|model| format!("{}/{}", model.id, model.version));
        Ok::<Vec<String>, nereid_core::Error>(lines.collect())
    };
    let all = ["a/1", "m/1", "m/3", "m/10"];
    assert_eq!(targets("", None).unwrap(), all.map(String::from).to_vec());
    assert_eq!(targets("m", None).unwrap(), ["m/1", "m/3", "m/10"]);
    assert_eq!(targets("m", Some(3)).unwrap(), ["m/3"]);
    for (name, version, text) in [
        ("x", None, "requested model 'x' is not available"),
        ("x", Some(1), "requested model 'x' is not available"),
        ("m", Some(9), "requested model version is not available for model 'm'"),
    ] {
        let error = targets(name, version).unwrap_err();
        assert_eq!((error.code(), error.message()), (InvalidArg, text));
    }
}

#[test]
fn readiness_may_be_lenient() {
    let repo = Repo::new();
    assert!(repo.open().is_ready(), "an empty repository is ready");
    repo.model("m", &(head("m", 8) + IO), "garbage");
    assert!(!repo.open().is_ready());
    assert!(repo.open_with(Options { ready_when: ReadyWhen::Server, ..repo.options() }).is_ready());
}

#[test]
fn a_version_that_fails_takes_its_siblings_with_it() {
    let repo = three_versions();
    repo.write("m/3/model.onnx", "garbage");
    let repository = repo.open();
    assert!(repository.ready_versions("m").is_empty());
    let states = repository.version_states("m");
    assert_eq!(states[1].1, nereid_repository::State::Unavailable);
    assert!(states[1].2.starts_with("Internal: onnx runtime error 7"), "{states:?}");
}

#[test]
fn the_gpu_on_which_requests_may_have_tensors() {
    let check = |instances: usize, on: &str, policies: &str, expected: Option<i32>| {
        let repo = Repo::new();
        let groups = format!("instance_group {{ count: {instances} kind: KIND_CPU {policies} }}");
        repo.model("m", &(head("m", 8) + IO + &groups), &format!("{MLP}on {on}\n"));
        assert_eq!(repo.open().find("m", None).unwrap().device_memory(), expected, "{on}");
    };
    check(1, "-", "", None);
    check(1, "3", "", Some(3));
    check(2, "0 0", "", Some(0));
    check(2, "0 1", "", None);
    check(2, "0 -", "", None);
    check(2, "- 0", "", None);
    check(1, "3", "passive: true", None);
}
