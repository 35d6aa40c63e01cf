//! Configs and files that come with a load request.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nereid_core::{ErrorCode, Result};
use nereid_repository::{LoadParameters, Repository};

use crate::repo::{IDENTITY, MLP, Repo, index, load};

const CONFIG: &str = r#"{"backend":"onnxruntime","max_batch_size":4}"#;

fn with(config: Option<&str>, files: &[(&str, &str)]) -> LoadParameters {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.to_string().into()));
    LoadParameters { config: config.map(str::to_owned), files: files.collect() }
}

fn load_config(repository: &Repository, config: &str) -> Result<()> {
    repository.load_model("m", &with(Some(config), &[]))
}

fn max_batch_size(repository: &Repository) -> u32 {
    repository.find("m", None).unwrap().config.max_batch_size
}

/// The temporary directory that the last load read from.
fn temporary(repo: &Repo) -> PathBuf {
    let files = repo.backend.files.lock();
    let folder = files.last().unwrap().ancestors().nth(2).unwrap();
    assert!(!folder.starts_with(repo.path()));
    folder.to_owned()
}

/// Waits until `path` is gone; the test runner ends it if that never happens.
fn wait_until_gone(path: &Path) {
    while path.exists() {
        std::thread::yield_now();
    }
}

#[test]
fn a_config_replaces_the_one_on_disk() {
    let repo = Repo::new();
    repo.good("m");
    let repository = repo.explicit(&["m"]);
    load_config(&repository, CONFIG).unwrap();
    let model = repository.find("m", None).unwrap();
    assert_eq!(model.config.max_batch_size, 4);
    assert_eq!(model.config.inputs[0].dims, [1, 28, 28], "completed, as a config on disk would be");
    // A model whose config on disk is broken loads as well.
    repo.write("m/config.pbtxt", "nonsense");
    load(&repository, "m").unwrap_err();
    load_config(&repository, r#"{"maxBatchSize":2}"#).unwrap();
    assert_eq!(max_batch_size(&repository), 2);
}

#[test]
fn broken_configs_change_nothing() {
    let repo = Repo::new();
    repo.good("m");
    let repository = repo.explicit(&["m"]);
    let before = repository.find("m", None).unwrap();
    let deep = format!("{{\"input\":{}{}}}", "[".repeat(250_000), "]".repeat(250_000));
    let huge = format!("{{\"name\":\"{}\"}}", "m".repeat(1 << 20));
    for config in [
        "{",
        "",
        "[]",
        "null",
        r#"{"name":"other"}"#,
        r#"{"nosuch":1}"#,
        r#"{"max_batch_size":-1}"#,
        &deep,
        &huge,
    ] {
        let error = load_config(&repository, config).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Internal, "{config:.50}");
        assert_eq!(error.message(), "failed to load 'm', failed to poll from model repository");
    }
    let contradiction = r#"{"input":[{"name":"a","data_type":"TYPE_FP32","dims":[1]},{"name":"b","data_type":"TYPE_FP32","dims":[1]}]}"#;
    let error = load_config(&repository, contradiction).unwrap_err();
    assert_eq!(
        error.message(),
        "load failed for model 'm': version 1 is at UNAVAILABLE state: Invalid argument: unable to load model 'm', \
         configuration expects 2 inputs, model provides 1;\n"
    );
    assert!(std::sync::Arc::ptr_eq(&before, &repository.find("m", None).unwrap()));
}

#[test]
fn files_replace_the_whole_directory() {
    let repo = Repo::new();
    repo.good("m");
    repo.write("m/3/model.onnx", MLP);
    let repository = repo.explicit(&["m"]);
    assert_eq!(repository.ready_versions("m"), [3]);
    let files = [("1/model.onnx", IDENTITY), ("labels/names.txt", "zero\none")];
    let config = r#"{"backend":"onnxruntime","output":[
        {"name":"OUTPUT0","data_type":"TYPE_FP32","dims":[-1],"label_filename":"labels/names.txt"}]}"#;
    for name in ["m", "on_no_disk"] {
        repository.load_model(name, &with(Some(config), &files)).unwrap();
        let model = repository.find(name, None).unwrap();
        assert_eq!((model.version, &*model.config.inputs[0].name), (1, "INPUT0"));
        assert_eq!(model.labels.get(0, 1), Some("one"));
    }
    load(&repository, "m").unwrap();
    assert_eq!(repository.ready_versions("m"), [3], "the next load reads the disk");
    load(&repository, "on_no_disk").unwrap_err();
    assert_eq!(repository.ready_versions("on_no_disk"), [1]);
}

#[test]
fn the_directory_lives_as_long_as_the_version() {
    let repo = Repo::new();
    let repository = repo.explicit(&[]);
    let files = [("1/model.onnx", MLP)];
    repository.load_model("m", &with(Some(CONFIG), &files)).unwrap();
    let folder = temporary(&repo);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let held = repository.find("m", None).unwrap();
    repository.unload_model("m", false).unwrap();
    assert!(folder.join("1/model.onnx").exists(), "somebody still uses the version");
    drop(held);
    wait_until_gone(&folder);
    repository.load_model("m", &with(Some(CONFIG), &[("1/model.onnx", "garbage")])).unwrap_err();
    assert!(!temporary(&repo).exists(), "nobody uses what failed to load");
    repository.load_model("m", &with(Some(CONFIG), &files)).unwrap();
    let (first, second) = (temporary(&repo), {
        repository.load_model("m", &with(Some(CONFIG), &files)).unwrap();
        temporary(&repo)
    });
    wait_until_gone(&first);
    assert!(second.exists());
    let held = repository.find("m", None).unwrap();
    assert!(repository.shutdown(Duration::ZERO) >= 1);
    assert!(!second.exists(), "the end waits for nobody");
    drop(held);
}

#[test]
fn files_that_are_refused() {
    let repo = Repo::new();
    repo.good("m");
    let repository = repo.explicit(&["m"]);
    let model = ("1/model.onnx", MLP);
    let long = "x/".repeat(50_000);
    let refused = |name: &str, parameters: &LoadParameters| {
        let error = repository.load_model(name, parameters).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Internal);
        assert_eq!(error.message(), format!("failed to load '{name}', failed to poll from model repository"));
    };
    refused("m", &with(None, &[model]));
    for path in ["", "..", "../x", "/etc/x", "1/../../x", "a\\b", "a\0b", &long, &"x".repeat(256)] {
        refused("m", &with(Some(CONFIG), &[model, (path, "x")]));
    }
    refused("m", &with(Some(CONFIG), &[("1", "x"), model]));
    refused("m", &with(Some("{"), &[model]));
    refused(&"m".repeat(256), &with(Some(CONFIG), &[model]));
    refused("line\nbreak", &with(Some(CONFIG), &[model]));
    assert_eq!(index(&repository), ["m/1 READY"]);
}
