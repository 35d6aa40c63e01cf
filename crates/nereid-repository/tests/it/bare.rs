//! Repositories that are themselves a model: a file alone, or folders of versions; and what is none.

use std::fs;
use std::os::unix::fs::symlink;

use nereid_repository::{ControlMode, LoadParameters, Options, Repository};

use crate::repo::{IO, MLP, Repo, failures, head, index, load};

/// The files of a repository, by what they hold.
type Files<'a> = &'a [(&'a str, &'a str)];

fn with(files: Files<'_>) -> Repo {
    let repo = Repo::new();
    for (path, text) in files {
        repo.write(&format!("store/{path}"), text);
    }
    repo
}

fn options(repo: &Repo) -> Options {
    Options { paths: vec![repo.path().join("store")], ..Options::default() }
}

/// What `files` are served as, and the path of the model file that was loaded.
#[track_caller]
fn check(files: Files<'_>, served: &str, loaded: &str) {
    let repo = with(files);
    let repository = repo.open_with(options(&repo));
    assert_eq!(failures(&repository), [""; 0], "{files:?}");
    assert_eq!(index(&repository), [format!("{served} READY")], "{files:?}");
    assert_eq!(*repo.backend.files.lock(), [repo.path().join("store").join(loaded)], "{files:?}");
    let name = served.split('/').next().unwrap();
    assert_eq!(repository.find(name, None).unwrap().wire_config.name, name);
}

#[test]
fn a_file_alone() {
    let config = |name: &str| head(name, 2).replace("platform", "# platform") + IO;
    check(&[("model.onnx", MLP)], "model/1", "model.onnx");
    check(&[("digits.onnx", MLP), ("README.md", "")], "digits/1", "digits.onnx");
    check(&[("model.onnx", MLP), ("digits.onnx", MLP)], "model/1", "model.onnx");
    check(&[("model.onnx", MLP), ("config.pbtxt", &config("seven"))], "seven/1", "model.onnx");
    check(&[("model.onnx", MLP), ("config.pbtxt", &config(""))], "model/1", "model.onnx");
    check(&[("a.b.onnx", MLP), ("config.pbtxt", &config("seven"))], "seven/1", "a.b.onnx");
    let named = config("seven") + "default_model_filename: \"b.onnx\"\n";
    check(&[("a.onnx", MLP), ("b.onnx", MLP), ("config.pbtxt", &named)], "seven/1", "b.onnx");
    // What is beside it belongs to it, unless it is the folder of a model.
    let beside = [("weights/data", ""), ("warmup/x", ""), ("lost+found/1/x", ""), (".git/1/model.onnx", MLP)];
    check(&[&[("model.onnx", MLP)], &beside[..]].concat(), "model/1", "model.onnx");
}

#[test]
fn folders_of_versions() {
    check(&[("1/model.onnx", MLP)], "store/1", "1/model.onnx");
    check(&[("1/model.onnx", MLP), ("3/model.onnx", MLP)], "store/3", "3/model.onnx");
    check(&[("1/model.onnx", MLP), ("config.pbtxt", &(head("seven", 2) + IO))], "seven/1", "1/model.onnx");
    check(&[("1/model.onnx", MLP), ("model.onnx", MLP)], "store/1", "1/model.onnx");
    check(&[("2/model.onnx", MLP), ("configs/x.pbtxt", "")], "store/2", "2/model.onnx");
}

#[test]
fn models_in_folders_come_first() {
    check(&[("m/1/model.onnx", MLP), ("model.onnx", "panic")], "m/1", "m/1/model.onnx");
    check(&[("m/1/model.onnx", MLP), ("lost+found/x", "")], "m/1", "m/1/model.onnx");
    check(&[("7/1/model.onnx", MLP), ("config.pbtxt", "")], "7/1", "7/1/model.onnx");
}

#[test]
fn what_is_no_model() {
    for files in [&[][..], &[("a.onnx", MLP), ("b.onnx", MLP)], &[("README.md", "")], &[("config.pbtxt", "")]]
    {
        let repo = with(files);
        fs::create_dir_all(repo.path().join("store")).unwrap();
        let repository = repo.open_with(options(&repo));
        assert_eq!((index(&repository), failures(&repository)), (vec![], vec![]), "{files:?}");
        assert!(repository.is_ready());
    }
}

#[test]
fn the_kind_is_told_by_the_extension() {
    let missing = "Invalid argument: unable to find backend library for backend 'tensorrt', try specifying runtime on \
                   the model configuration.";
    for (files, name) in [
        (&[("model.plan", "")][..], "model"),
        (&[("model.plan", ""), ("model.onnx", MLP)], "model"),
        (&[("resnet.plan", "")], "resnet"),
        (&[("1/model.plan", "")], "store"),
    ] {
        let repo = with(files);
        let repository = repo.open_with(options(&repo));
        assert_eq!(index(&repository), [format!("{name}/1 UNAVAILABLE: {missing}")]);
    }
}

/// `--bare-model-name` goes before the name in the config, and is nothing to models in folders.
#[test]
fn a_name_from_outside() {
    let named =
        |repo: &Repo| repo.open_with(Options { bare_model_name: Some("given".into()), ..options(repo) });
    let config = ("config.pbtxt", &*(head("seven", 2) + IO));
    for files in [&[("model.onnx", MLP)][..], &[("1/model.onnx", MLP), config], &[("x.onnx", MLP), config]] {
        let repo = with(files);
        let repository = named(&repo);
        assert_eq!(index(&repository), ["given/1 READY"]);
        assert_eq!(repository.find("given", Some(1)).unwrap().wire_config.name, "given");
        repository.find("seven", None).unwrap_err();
    }
    let repo = with(&[("m/1/model.onnx", MLP)]);
    assert_eq!(index(&named(&repo)), ["m/1 READY"]);
}

#[test]
fn a_config_name_selects_among_configs() {
    let big = head("big", 64) + IO;
    let repo =
        with(&[("model.onnx", MLP), ("configs/big.pbtxt", &big), ("config.pbtxt", &(head("small", 2) + IO))]);
    let size = |config_name: &str, name: &str| {
        let repository = repo.open_with(Options { config_name: config_name.into(), ..options(&repo) });
        repository.find(name, None).unwrap().config.max_batch_size
    };
    assert_eq!((size("big", "big"), size("", "small")), (64, 2));
}

#[test]
fn without_autocomplete_it_needs_a_config() {
    let repo = with(&[("model.onnx", MLP)]);
    let repository = repo.open_with(Options { auto_complete: false, ..options(&repo) });
    let path = repo.path().join("store/config.pbtxt");
    let failed = "No such file or directory";
    assert_eq!(
        failures(&repository),
        [format!("model: failed to open text file for read {}: {failed}", path.display())]
    );
    repo.write("store/config.pbtxt", head("model", 2) + IO);
    let repository = repo.open_with(Options { auto_complete: false, ..options(&repo) });
    assert_eq!(index(&repository), ["model/1 READY"]);
}

/// The way that Kubernetes mounts a ConfigMap, and KServe a model that is on a volume already.
#[test]
fn links() {
    let repo = with(&[("..data_1/model.onnx", MLP), ("..data_1/config.pbtxt", &(head("seven", 2) + IO))]);
    let store = repo.path().join("store");
    symlink("..data_1", store.join("..data")).unwrap();
    symlink("..data/model.onnx", store.join("model.onnx")).unwrap();
    symlink("..data/config.pbtxt", store.join("config.pbtxt")).unwrap();
    assert_eq!(index(&repo.open_with(options(&repo))), ["seven/1 READY"]);
    symlink("store", repo.path().join("models")).unwrap();
    let linked = Options { paths: vec![repo.path().join("models")], ..Options::default() };
    assert_eq!(index(&repo.open_with(linked)), ["seven/1 READY"]);

    let outside = repo.write("outside.onnx", MLP).canonicalize().unwrap();
    fs::remove_file(store.join("model.onnx")).unwrap();
    symlink(&outside, store.join("model.onnx")).unwrap();
    let text = format!(
        "seven/1 UNAVAILABLE: Invalid argument: '{}' leads to '{}', which is outside the model repository",
        store.join("model.onnx").display(),
        outside.display()
    );
    assert_eq!(index(&repo.open_with(options(&repo))), [text]);
}

fn explicit(repo: &Repo, models: &[&str]) -> Repository {
    let startup_models = models.iter().map(|name| (*name).to_owned()).collect();
    repo.open_with(Options { control: ControlMode::Explicit, startup_models, ..options(repo) })
}

#[test]
fn loading_and_unloading_by_name() {
    let repo = with(&[("digits.onnx", MLP)]);
    let repository = explicit(&repo, &[]);
    assert_eq!(index(&repository), ["digits"]);
    load(&repository, "model").unwrap_err();
    load(&repository, "store").unwrap_err();
    load(&repository, "digits").unwrap();
    let loads = || repo.backend.files.lock().len();
    load(&repository, "digits").unwrap();
    assert_eq!(loads(), 1, "nothing has changed");
    repo.write("store/digits.onnx", format!("{MLP}\n"));
    load(&repository, "digits").unwrap();
    assert_eq!(loads(), 2, "the file has changed");
    repository.unload_model("digits", false).unwrap();
    repository.find("digits", None).unwrap_err();

    let config = r#"{"max_batch_size": 3}"#.to_owned();
    let parameters = LoadParameters { config: Some(config), ..Default::default() };
    repository.load_model("digits", &parameters).unwrap();
    assert_eq!(repository.find("digits", None).unwrap().config.max_batch_size, 3);
    assert_eq!(index(&explicit(&repo, &["*"])), ["digits/1 READY"]);
    assert_eq!(index(&explicit(&repo, &["digits"])), ["digits/1 READY"]);
}

#[test]
fn instances_change_in_place() {
    let config =
        |count: u32| head("m", 2) + IO + &format!("instance_group [ {{ count: {count} kind: KIND_CPU }} ]\n");
    let repo = with(&[("model.onnx", MLP), ("config.pbtxt", &config(1))]);
    let repository = explicit(&repo, &["m"]);
    repo.write("store/config.pbtxt", config(2));
    load(&repository, "m").unwrap();
    assert_eq!(repo.backend.files.lock().len(), 1, "the file was not read again");
    assert_eq!(repository.find("m", None).unwrap().config.instances.len(), 2);
}

#[test]
fn poll_mode_follows() {
    let repo = with(&[("README.md", "")]);
    let repository = repo.open_with(Options { control: ControlMode::Poll, ..options(&repo) });
    let now = |expected: &[&str]| {
        repository.poll_once().unwrap();
        assert_eq!(index(&repository), expected);
    };
    now(&[]);
    repo.write("store/model.onnx", MLP);
    now(&["model/1 READY"]);
    repo.write("store/config.pbtxt", head("seven", 2) + IO);
    now(&["seven/1 READY"]);
    repository.find("model", None).unwrap_err();
    // A model in a folder makes it a repository like others.
    repo.write("store/m/1/model.onnx", MLP);
    now(&["m/1 READY"]);
    fs::remove_dir_all(repo.path().join("store/m")).unwrap();
    fs::remove_file(repo.path().join("store/config.pbtxt")).unwrap();
    now(&["model/1 READY"]);
    fs::remove_file(repo.path().join("store/model.onnx")).unwrap();
    now(&[]);
}

#[test]
fn beside_other_repositories() {
    let repo = with(&[("model.onnx", MLP)]);
    repo.write("others/a/1/model.onnx", MLP);
    repo.write("others/b/1/model.onnx", MLP);
    let paths = vec![repo.path().join("store"), repo.path().join("others")];
    let repository = repo.open_with(Options { paths: paths.clone(), ..Options::default() });
    assert_eq!(index(&repository), ["a/1 READY", "b/1 READY", "model/1 READY"]);
    let clash = Options { paths: paths.clone(), bare_model_name: Some("a".into()), ..Options::default() };
    let repository = repo.open_with(clash.clone());
    let both = "model appears in two or more repositories";
    assert_eq!(index(&repository), [&format!("a UNAVAILABLE: {both}"), "b/1 READY"]);
    let repository = repo.open_with(Options { model_namespacing: true, ..clash });
    assert_eq!(index(&repository), ["a/1 READY", "b/1 READY", "a/1 READY"]);
}

/// What is probably wrong with a folder that did not load.
#[test]
fn hints() {
    let hints = |files: Files<'_>| -> Vec<String> {
        let repo = with(files);
        let repository = repo.open_with(options(&repo));
        let store = repo.path().join("store").display().to_string();
        let hint = |hint: &Option<String>| hint.clone().unwrap_or_default().replace(&store, "/store");
        repository.startup_failures().iter().map(|failure| hint(&failure.hint)).collect()
    };
    assert_eq!(
        hints(&[("models/resnet/1/model.onnx", MLP)]),
        [
            "'/store/models' holds folders of models, such as 'resnet': the model repository seems to be one folder too high, \
          try --model-repository=/store/models"
        ]
    );
    assert_eq!(
        hints(&[("m/net.onnx", MLP)]),
        ["'/store/m' has no folder of a version: move 'net.onnx', which is in it, to '1/model.onnx'"]
    );
    assert_eq!(hints(&[("m/x", "")]), ["'/store/m' has no folder of a version, such as '/store/m/1'"]);
    assert_eq!(hints(&[("m/1/model.onnx", "panic")]), [""]);
    assert_eq!(hints(&[("model.onnx", "panic")]), [""]);
}
