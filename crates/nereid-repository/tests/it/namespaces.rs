//! `--model-namespacing`: a name in two repositories is two models.

use std::fs;

use bytes::Bytes;
use nereid_core::Error;
use nereid_core::ErrorCode::{Internal, InvalidArg, NotFound, Unavailable};
use nereid_repository::{ControlMode, LoadParameters, Options, Repository};

use crate::repo::{IO, MLP, PATIENCE, Repo, failures, head, index, load};

/// Two repositories that both have `m`, of other batch sizes, and each a model of its own.
struct Two {
    a: Repo,
    b: Repo,
}

impl Two {
    fn new() -> Self {
        let two = Self { a: Repo::new(), b: Repo::new() };
        two.a.model("m", &(head("m", 8) + IO), MLP);
        two.b.model("m", &(head("m", 4) + IO), MLP);
        two.a.good("only_a");
        two.b.good("only_b");
        two
    }

    fn open(&self, control: ControlMode, load: &[&str]) -> Repository {
        let paths = vec![self.a.path().to_owned(), self.b.path().to_owned()];
        let startup_models = load.iter().map(|name| (*name).to_owned()).collect();
        let options =
            Options { paths, control, startup_models, model_namespacing: true, ..Options::default() };
        self.a.open_with(options)
    }

    /// The namespaces in Triton's order, which is that of their texts.
    fn sorted(&self) -> Vec<&str> {
        let mut namespaces = vec![namespace(&self.a), namespace(&self.b)];
        namespaces.sort_unstable();
        namespaces
    }
}

fn namespace(repo: &Repo) -> &str {
    repo.path().to_str().unwrap()
}

/// Refusals of a name that stands for `count` models.
fn ambiguous(name: &str, count: usize) -> Error {
    Error::invalid_arg(format!(
        "There are {count} identifiers of model '{name}' in global map, model namespace must be provided to resolve \
         ambiguity."
    ))
}

fn loaded(repository: &Repository) -> Vec<String> {
    repository.loaded().iter().map(|model| format!("{}/{}", model.id, model.version)).collect()
}

/// `max_batch_size` of the model that serves as `name` in `namespace`.
fn size_in(repository: &Repository, namespace: &str, name: &str) -> Option<u32> {
    let loaded = repository.loaded();
    let model = loaded.iter().find(|model| (&*model.id.namespace, &*model.id.name) == (namespace, name))?;
    Some(model.config.max_batch_size)
}

#[test]
fn both_are_served_and_only_names_of_one_model_lead_to_it() {
    let two = Two::new();
    let repository = two.open(ControlMode::None, &[]);
    assert_eq!(repository.startup_failures(), []);
    assert!(repository.is_ready());
    let mut expected = Vec::new();
    for namespace in two.sorted() {
        let own = if namespace == self::namespace(&two.a) { "only_a" } else { "only_b" };
        expected.extend([format!("{namespace}::m/1"), format!("{namespace}::{own}/1")]);
    }
    assert_eq!(loaded(&repository), expected);
    let names = expected.iter().map(|id| id.rsplit("::").next().unwrap().to_owned() + " READY");
    assert_eq!(index(&repository), names.collect::<Vec<_>>());
    for version in [None, Some(1), Some(7)] {
        assert_eq!(repository.find("m", version).unwrap_err(), ambiguous("m", 2));
        assert_eq!(repository.model_ready("m", version).unwrap_err(), ambiguous("m", 2));
        let error = repository.statistics_targets("m", version).unwrap_err();
        assert_eq!((error.code(), error.message()), (InvalidArg, "requested model 'm' is not available"));
    }
    assert!(repository.ready_versions("m").is_empty());
    assert_eq!(repository.statistics_targets("", None).unwrap().len(), 4);
    let only = repository.find("only_a", None).unwrap();
    assert_eq!((&*only.id.namespace, &*only.id.name), (namespace(&two.a), "only_a"));
    assert_eq!(repository.statistics_targets("only_a", Some(1)).unwrap().len(), 1);
    let series: Vec<_> = repository.reporters().series().into_iter().map(|series| series.id).collect();
    let of_m: Vec<_> = series.iter().filter(|id| &*id.model == "m").map(|id| &*id.namespace).collect();
    assert_eq!(of_m, two.sorted());
    drop(only);
    assert_eq!(repository.shutdown(PATIENCE), 0);
}

#[test]
fn refusals_name_the_namespace_once_it_is_known() {
    let two = Two::new();
    two.a.model("broken", &(head("broken", 8) + IO), "panic");
    let repository = two.open(ControlMode::None, &[]);
    assert_eq!(repository.startup_failures().len(), 1);
    let a = namespace(&two.a);
    for (name, version, code, text) in [
        ("x", None, InvalidArg, "'x' is not found".to_owned()),
        ("x", Some(1), InvalidArg, "'x' is not found".to_owned()),
        (&*format!("{a}::m"), None, InvalidArg, format!("'{a}::m' is not found")),
        ("only_a", Some(7), NotFound, format!("'{a}::only_a' version 7 is not found")),
        ("broken", None, NotFound, format!("'{a}::broken' has no available versions")),
        ("broken", Some(1), Unavailable, format!("'{a}::broken' version 1 is not at ready state")),
    ] {
        let error = repository.find(name, version).unwrap_err();
        assert_eq!(error.message(), format!("Request for unknown model: {text}"));
        assert_eq!(error.code(), code, "{text}");
    }
}

#[test]
fn load_and_unload_mean_all_of_a_name() {
    let two = Two::new();
    let repository = two.open(ControlMode::Explicit, &["only_b"]);
    let namespaces = two.sorted();
    let both: Vec<_> = namespaces.iter().map(|namespace| format!("{namespace}::m/1")).collect();
    assert_eq!(repository.find("m", None).unwrap_err().code(), InvalidArg);
    load(&repository, "m").unwrap();
    assert_eq!(repository.find("m", None).unwrap_err(), ambiguous("m", 2));
    let of_m = || loaded(&repository).into_iter().filter(|id| id.ends_with("::m/1")).collect::<Vec<_>>();
    assert_eq!(of_m(), both);
    repository.unload_model("m", false).unwrap();
    assert_eq!(of_m(), [""; 0]);
    let error = repository.find("m", None).unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (NotFound, "Identifier of model 'm' is not found in global map")
    );
    load(&repository, "m").unwrap();
    assert_eq!(of_m(), both);
    let error = load(&repository, "x").unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Internal, "failed to load 'x', failed to poll from model repository")
    );
    assert_eq!(
        failures(&two.open(ControlMode::Explicit, &["m", "x"])),
        ["x: model not found in any model repository."]
    );
}

#[test]
fn one_that_fails_to_load_leaves_the_other() {
    let two = Two::new();
    let repository = two.open(ControlMode::Explicit, &[]);
    two.b.write("m/config.pbtxt", "nonsense");
    let error = load(&repository, "m").unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Internal, "failed to load 'm', failed to poll from model repository")
    );
    assert_eq!(
        repository.find("m", None).unwrap().config.max_batch_size,
        8,
        "the other has never been known"
    );
    for repo in [&two.a, &two.b] {
        repo.model("m", &(head("m", 2) + IO), "panic");
    }
    let error = load(&repository, "m").unwrap_err();
    let lines = two.sorted().into_iter().map(|namespace| {
        // What serves goes on: it is the file that was to replace it that panics.
        format!(
            "load failed for model '{namespace}::m': version 1 is at UNAVAILABLE state: Internal: panic while \
             loading: asked to panic;\n"
        )
    });
    assert_eq!((error.code(), error.message()), (InvalidArg, lines.collect::<String>().as_str()));
    assert_eq!(repository.find("m", None).unwrap_err(), ambiguous("m", 2), "the failed one is known now");
    assert_eq!(size_in(&repository, namespace(&two.a), "m"), Some(8));
}

#[test]
fn files_that_come_along_are_in_no_namespace() {
    let two = Two::new();
    let repository = two.open(ControlMode::Explicit, &["only_a"]);
    let parameters = LoadParameters {
        config: Some(r#"{"platform":"onnxruntime_onnx"}"#.to_owned()),
        files: [("1/model.onnx".to_owned(), Bytes::from(MLP))].into(),
    };
    repository.load_model("only_a", &parameters).unwrap();
    assert_eq!(repository.find("only_a", None).unwrap_err(), ambiguous("only_a", 2));
    assert!(size_in(&repository, "", "only_a").is_some());
    repository.load_model("sent", &parameters).unwrap();
    assert_eq!(repository.find("sent", None).unwrap().id.to_string(), "sent");
    repository.unload_model("only_a", false).unwrap();
    assert_eq!(loaded(&repository), ["sent/1"]);
}

#[test]
fn polling_follows_each_repository() {
    let two = Two::new();
    let repository = two.open(ControlMode::Poll, &[]);
    assert_eq!(repository.find("m", None).unwrap_err(), ambiguous("m", 2));
    fs::rename(two.a.path().join("m"), two.a.path().join(".m")).unwrap();
    repository.poll_once().unwrap();
    assert_eq!(repository.find("m", None).unwrap().config.max_batch_size, 4);
    two.b.write("m/config.pbtxt", head("m", 2) + IO);
    fs::rename(two.a.path().join(".m"), two.a.path().join("m")).unwrap();
    repository.poll_once().unwrap();
    assert_eq!(repository.find("m", None).unwrap_err(), ambiguous("m", 2));
    let size = |repo| size_in(&repository, namespace(repo), "m");
    assert_eq!((size(&two.a), size(&two.b)), (Some(8), Some(2)));
    for repo in [&two.a, &two.b] {
        fs::remove_dir_all(repo.path().join("m")).unwrap();
    }
    repository.poll_once().unwrap();
    assert_eq!(
        repository.find("m", None).unwrap_err().message(),
        "Identifier of model 'm' is not found in global map"
    );
    assert_eq!(repository.loaded().len(), 2);
}

#[test]
fn without_it_nothing_is_told_apart() {
    let two = Two::new();
    let paths = vec![two.a.path().to_owned(), two.b.path().to_owned()];
    let repository = two.a.open_with(Options { paths, ..Options::default() });
    assert_eq!(loaded(&repository), ["only_a/1", "only_b/1"]);
    assert_eq!(
        index(&repository),
        ["m UNAVAILABLE: model appears in two or more repositories", "only_a/1 READY", "only_b/1 READY"]
    );
    assert_eq!(failures(&repository), ["m: not unique across all model repositories"]);
    assert_eq!(repository.find("m", None).unwrap_err().code(), NotFound);
    assert!(repository.reporters().series().iter().all(|series| series.id.namespace.is_empty()));
}
