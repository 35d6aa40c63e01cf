//! What counts as a model: folders of the repository, nothing else and nothing elsewhere.

use std::fs;
use std::os::unix::fs::symlink;

use nereid_repository::{Options, Repository};

use crate::repo::{IO, MLP, Repo, failures, head, index};

#[test]
fn files_and_hidden_folders_are_no_models() {
    let repo = Repo::new();
    repo.good("m");
    repo.good(".hidden");
    repo.good("lost+found");
    repo.write("stray_file.txt", "x");
    repo.write("m/notes/readme.txt", "x");
    let repository = repo.open();
    assert_eq!(index(&repository), ["m/1 READY"]);
    assert!(repository.startup_failures().is_empty());
}

#[test]
fn links_stay_inside_the_repository() {
    let outside = Repo::new();
    outside.good("elsewhere");
    let repo = Repo::new();
    // The way that Kubernetes mounts a ConfigMap.
    repo.model("..data_1/m", &(head("m", 8) + IO), MLP);
    symlink("..data_1", repo.path().join("..data")).unwrap();
    symlink("..data/m", repo.path().join("m")).unwrap();
    symlink(outside.path().join("elsewhere"), repo.path().join("elsewhere")).unwrap();
    symlink("nowhere", repo.path().join("dangling")).unwrap();
    repo.good("file");
    fs::remove_file(repo.path().join("file/1/model.onnx")).unwrap();
    symlink(outside.path().join("elsewhere/1/model.onnx"), repo.path().join("file/1/model.onnx")).unwrap();
    repo.good("version");
    fs::remove_dir_all(repo.path().join("version/1")).unwrap();
    symlink(outside.path().join("elsewhere/1"), repo.path().join("version/1")).unwrap();
    let repository = repo.open();
    let (here, there) = (repo.path().display(), outside.path().canonicalize().unwrap());
    let leads = |from: &str, to: &str| {
        format!("'{here}/{from}' leads to '{}/{to}', which is outside the model repository", there.display())
    };
    assert_eq!(
        index(&repository),
        [
            format!(
                "file/1 UNAVAILABLE: Invalid argument: {}",
                leads("file/1/model.onnx", "elsewhere/1/model.onnx")
            ),
            "m/1 READY".to_owned(),
            "version".to_owned(),
        ]
    );
    let version = format!("version: {}", leads("version/1", "elsewhere/1"));
    assert_eq!(failures(&repository)[1], version);
    let explicit = repo.explicit(&["elsewhere", "../x", ".."]);
    assert_eq!(
        failures(&explicit),
        [
            "..: invalid model name '..', model name must not contain path traversal characters".to_owned(),
            "../x: invalid model name '../x', model name must not contain path traversal characters"
                .to_owned(),
            format!("elsewhere: {}", leads("elsewhere", "elsewhere")),
        ]
    );
}

#[test]
fn a_name_in_two_repositories_is_served_by_neither() {
    let (one, two) = (Repo::new(), Repo::new());
    one.good("both");
    two.good("both");
    one.good("a");
    two.good("b");
    let paths = vec![one.path().to_owned(), two.path().to_owned()];
    let repository = one.open_with(Options { paths, ..Options::default() });
    assert_eq!(
        index(&repository),
        ["a/1 READY", "b/1 READY", "both UNAVAILABLE: model appears in two or more repositories"]
    );
    assert_eq!(failures(&repository), ["both: not unique across all model repositories"]);
    assert_eq!(
        repository.find("both", None).unwrap_err().message(),
        "Request for unknown model: 'both' is not found"
    );
}

#[test]
fn repositories_must_be_folders() {
    let repo = Repo::new();
    let file = repo.write("file", "x");
    for (path, expected) in [
        (
            file.clone(),
            format!(
                "repository path is not a valid directory: '{}'; --model-repository must be the folder that it is in",
                file.display()
            ),
        ),
        (
            repo.path().join("x"),
            format!(
                "failed to stat file {}/x: No such file or directory; is the volume with the models mounted there?",
                repo.path().display()
            ),
        ),
    ] {
        let options = Options { paths: vec![path], ..Options::default() };
        let error = Repository::open(options, repo.backends()).unwrap_err();
        assert_eq!(error.message(), expected);
    }
}

#[test]
fn a_config_name_selects_among_configs() {
    let repo = Repo::new();
    repo.good("custom");
    repo.write("custom/configs/big.pbtxt", head("custom", 64) + IO);
    repo.good("plain");
    let repository = repo.open_with(Options { config_name: "big".into(), ..repo.options() });
    let size = |name| repository.find(name, None).unwrap().config.max_batch_size;
    assert_eq!((size("custom"), size("plain")), (64, 8));
}

#[test]
fn configs_have_a_limit() {
    let repo = Repo::new();
    repo.model("m", "", MLP);
    let path = repo.path().join("m/config.pbtxt");
    fs::File::create(&path).unwrap().set_len((16 << 20) + 1).unwrap();
    assert_eq!(
        failures(&repo.open()),
        [format!("m: model config '{}' is larger than the limit of 16777216 bytes", path.display())]
    );
}
