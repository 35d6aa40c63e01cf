//! Loading a model that serves already: what is left as it is, changed in place, or loaded again.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nereid_core::{ErrorCode, Result};
use nereid_repository::{LoadParameters, ModelVersion, Repository};

use crate::repo::{IDENTITY, IO, MLP, Repo, head, index, load};
use crate::requests::infer;

fn find(repository: &Repository, version: u64) -> Arc<ModelVersion> {
    repository.find("m", Some(version)).unwrap()
}

fn load_config(repository: &Repository, config: &str) -> Result<()> {
    repository.load_model("m", &LoadParameters { config: Some(config.to_owned()), ..Default::default() })
}

fn loads(repo: &Repo) -> usize {
    repo.backend.loads.swap(0, Ordering::SeqCst)
}

fn same_statistics(a: &ModelVersion, b: &ModelVersion) -> bool {
    Arc::ptr_eq(a.scheduler().statistics(), b.scheduler().statistics())
}

fn successes(model: &ModelVersion) -> u64 {
    model.scheduler().statistics().snapshot().success.count
}

/// Versions 1 and 3, both served.
fn two_versions(more: &str) -> (Repo, Repository) {
    let repo = Repo::new();
    repo.model("m", &(head("m", 8) + "version_policy: { all { } }\n" + more), IDENTITY);
    repo.write("m/3/model.onnx", IDENTITY);
    repo.write("m/labels.txt", "zero");
    let repository = repo.explicit(&["m"]);
    assert_eq!((repository.ready_versions("m"), loads(&repo)), (vec![1, 3], 2));
    (repo, repository)
}

#[test]
fn an_unmodified_model_is_left_alone() {
    let (repo, repository) = two_versions("");
    let before = find(&repository, 1);
    assert!(infer(&before).recv().unwrap().is_ok());
    for _ in 0..3 {
        load(&repository, "m").unwrap();
    }
    assert_eq!(loads(&repo), 0);
    assert!(Arc::ptr_eq(&before, &find(&repository, 1)));
    assert_eq!(successes(&before), 1);
    // Also after a load that failed and left nothing behind.
    load_config(&repository, "{").unwrap_err();
    load_config(&repository, r#"{"default_model_filename":"nosuch"}"#).unwrap_err();
    loads(&repo);
    load(&repository, "m").unwrap();
    assert_eq!(loads(&repo), 0);
    assert!(Arc::ptr_eq(&before, &find(&repository, 1)));
}

#[test]
fn only_what_has_changed_is_loaded_again() {
    let (repo, repository) = two_versions("");
    let config = head("m", 8) + "version_policy: { all { } }\n";
    let check = |change: &dyn Fn(), expected: (usize, bool, bool)| {
        let (one, three) = (find(&repository, 1), find(&repository, 3));
        change();
        load(&repository, "m").unwrap();
        let same = |before, version| same_statistics(before, &find(&repository, version));
        assert_eq!((loads(&repo), same(&one, 1), same(&three, 3)), expected);
    };
    check(&|| drop(repo.write("m/3/model.onnx", IDENTITY)), (1, true, false));
    check(&|| drop(repo.write("m/4/model.onnx", IDENTITY)), (1, true, true));
    check(&|| drop(repo.write("m/labels.txt", "null")), (3, false, false));
    check(&|| drop(repo.write("m/config.pbtxt", &config)), (0, true, true));
    check(&|| drop(repo.write("m/config.pbtxt", config.replace('8', "4"))), (3, false, false));
    check(&|| fs::remove_dir_all(repo.path().join("m/4")).unwrap(), (0, true, true));
    assert_eq!(index(&repository)[..2], ["m/1 READY", "m/3 READY"]);
}

#[test]
fn quick_edits_are_not_missed() {
    let repo = Repo::new();
    repo.good("m");
    let repository = repo.explicit(&["m"]);
    for round in 0..20 {
        // The same size, and often the same time as the edit before.
        let size = if round % 2 == 0 { 16 } else { 32 };
        repo.write("m/config.pbtxt", head("m", size) + IO);
        load(&repository, "m").unwrap();
        assert_eq!(repository.find("m", None).unwrap().config.max_batch_size, size.cast_unsigned());
    }
}

#[test]
fn a_version_policy_is_changed_in_place() {
    let (repo, repository) = two_versions("");
    let three = find(&repository, 3);
    assert!(infer(&three).recv().unwrap().is_ok());
    repo.write("m/config.pbtxt", head("m", 8) + "version_policy: { latest { num_versions: 1 } }");
    load(&repository, "m").unwrap();
    assert_eq!((repository.ready_versions("m"), loads(&repo)), (vec![3], 0));
    let after = find(&repository, 3);
    assert_eq!(successes(&after), 1);
    let shown = nereid_protocol::config_json::to_json(&after.wire_config);
    assert!(shown.contains(r#""version_policy":{"latest":{"num_versions":1}}"#), "{shown}");
    assert!(infer(&three).recv().unwrap().is_ok(), "whoever holds the old one shares its scheduler");
    assert_eq!(successes(&after), 2);
}

#[test]
fn instance_groups_are_changed_in_place() {
    let (repo, repository) = two_versions("");
    let before = find(&repository, 1);
    assert_eq!(before.config.instances.len(), 2);
    assert!(infer(&before).recv().unwrap().is_ok());
    let groups =
        r#"instance_group [ { count: 3 kind: KIND_CPU }, { count: 1 kind: KIND_CPU passive: true } ]"#;
    repo.write("m/config.pbtxt", head("m", 8) + "version_policy: { all { } }\n" + groups);
    load(&repository, "m").unwrap();
    let after = find(&repository, 1);
    assert_eq!(
        (loads(&repo), after.config.instances.len(), after.wire_config.instance_group.len()),
        (0, 4, 2)
    );
    assert!(infer(&after).recv().unwrap().is_ok());
    assert!(infer(&before).recv().unwrap().is_ok(), "the old instances serve whoever found them");
    assert!(same_statistics(&before, &after));
    assert_eq!(successes(&after), 3);
    drop((before, after));
    repository.unload_model("m", false).unwrap();
    assert_eq!(repository.shutdown(crate::repo::PATIENCE), 0);
}

#[test]
fn requests_in_flight_survive_new_instance_groups() {
    let repo = Repo::new();
    repo.model("m", "", &format!("{IDENTITY}slow"));
    let repository = repo.explicit(&["m"]);
    let waiting: Vec<_> = (0..5).map(|_| infer(&repository.find("m", None).unwrap())).collect();
    repo.write("m/config.pbtxt", "instance_group [ { count: 1 } ]");
    load(&repository, "m").unwrap();
    let late = infer(&repository.find("m", None).unwrap());
    assert!(waiting[0].try_recv().is_err());
    repo.backend.gate.open();
    for answer in waiting.iter().chain([&late]) {
        assert!(answer.recv().unwrap().is_ok());
    }
    assert_eq!(successes(&repository.find("m", None).unwrap()), 6);
    assert_eq!(index(&repository), ["m/1 READY"]);
}

#[test]
fn instance_groups_that_cannot_be_had_change_nothing() {
    let (repo, repository) = two_versions("");
    let before = find(&repository, 1);
    repo.write(
        "m/config.pbtxt",
        head("m", 8) + "version_policy: { all { } } instance_group [ { kind: KIND_GPU } ]",
    );
    let error = load(&repository, "m").unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArg);
    let why = "Invalid argument: instance group m_0 of model m has kind KIND_GPU but no GPUs are available";
    assert_eq!(
        error.message(),
        format!(
            "load failed for model 'm': version 1 is at READY state: {why};version 3 is at READY state: {why};\n"
        )
    );
    assert!(Arc::ptr_eq(&before, &find(&repository, 1)));
    load(&repository, "m").unwrap_err();
    assert_eq!(index(&repository), ["m/1 READY", "m/3 READY"]);
}

#[test]
fn a_backend_that_panics_in_place_changes_nothing() {
    let repo = Repo::new();
    repo.model("m", &head("m", 8), &format!("{IDENTITY}fragile"));
    let repository = repo.explicit(&["m"]);
    let before = find(&repository, 1);
    repo.write("m/config.pbtxt", head("m", 8) + "instance_group [ { count: 3 } ]");
    let error = load(&repository, "m").unwrap_err();
    assert_eq!(
        error.message(),
        "load failed for model 'm': version 1 is at READY state: Internal: panic while loading: asked to panic;\n"
    );
    assert!(Arc::ptr_eq(&before, &find(&repository, 1)));
    assert!(infer(&before).recv().unwrap().is_ok());
}

/// As Triton's own test demands (`test_config_override` of L0_lifecycle).
#[test]
fn a_given_config_stays_until_the_disk_changes() {
    let repo = Repo::new();
    repo.good("m");
    let repository = repo.explicit(&["m"]);
    let size = |repository: &Repository| repository.find("m", None).unwrap().config.max_batch_size;
    load_config(&repository, r#"{"max_batch_size":2}"#).unwrap();
    load(&repository, "m").unwrap();
    assert_eq!((size(&repository), loads(&repo)), (2, 2));
    let before = find(&repository, 1);
    load_config(&repository, r#"{"max_batch_size":2}"#).unwrap();
    assert!(same_statistics(&before, &find(&repository, 1)), "the same config again");
    repo.write("m/config.pbtxt", head("m", 8) + IO);
    load(&repository, "m").unwrap();
    assert_eq!(size(&repository), 8);
    load_config(&repository, r#"{"max_batch_size":2}"#).unwrap();
    repository.unload_model("m", false).unwrap();
    load(&repository, "m").unwrap();
    assert_eq!(size(&repository), 8, "an unload ends it, too");
}

#[test]
fn files_that_came_with_a_request_are_always_replaced() {
    let repo = Repo::new();
    repo.model("m", "", MLP);
    let repository = repo.explicit(&["m"]);
    let parameters = LoadParameters {
        config: Some(r#"{"backend":"onnxruntime"}"#.into()),
        files: [("1/model.onnx".to_owned(), MLP.into())].into(),
    };
    for _ in 0..3 {
        let before = find(&repository, 1);
        repository.load_model("m", &parameters).unwrap();
        assert!(!same_statistics(&before, &find(&repository, 1)));
    }
    let before = find(&repository, 1);
    load(&repository, "m").unwrap();
    assert!(!same_statistics(&before, &find(&repository, 1)));
    assert_eq!(loads(&repo), 5);
}
