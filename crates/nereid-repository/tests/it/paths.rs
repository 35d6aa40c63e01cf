//! Names and paths that would leave the repository, as text, by a link, and into a folder beside it whose name
//! begins with the repository's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nereid_core::ErrorCode;
use nereid_repository::{LoadParameters, Options};

use crate::repo::{IO, MLP, Repo, head, index, load};

/// `models` with the model `m`, and beside it `models-evil` with `m` and the like of everything a model may have.
fn siblings() -> (Repo, Options) {
    let repo = Repo::new();
    repo.model("models/m", &(head("m", 8) + IO), MLP);
    repo.model("models-evil/m", &(head("m", 2) + IO), MLP);
    for file in ["models/m-evil/labels.txt", "models-evil/labels.txt", "models-evil/x.pbtxt"] {
        repo.write(file, head("m", 2) + IO);
    }
    let options = Options {
        paths: vec![repo.path().join("models")],
        control: nereid_repository::ControlMode::Explicit,
        ..Options::default()
    };
    (repo, options)
}

#[test]
fn model_names() {
    let (repo, options) = siblings();
    symlink("../models-evil/m", repo.path().join("models/link")).unwrap();
    symlink("..", repo.path().join("models/up")).unwrap();
    fs::create_dir(repo.path().join("models/.hidden")).unwrap();
    let repository = repo.open_with(options);
    let long = "m".repeat(100_000);
    let polled = |name: &str| format!("failed to load '{name}', failed to poll from model repository");
    let traversal = |name: &str| {
        format!("invalid model name '{name}', model name must not contain path traversal characters")
    };
    let empty = |_: &str| "Model name cannot be empty. Please enter a valid name to deploy.".to_owned();
    type Text<'a> = &'a dyn Fn(&str) -> String;
    let cases: [(&str, ErrorCode, Text<'_>); 19] = [
        ("", ErrorCode::InvalidArg, &empty),
        (" \t\n", ErrorCode::InvalidArg, &empty),
        ("..", ErrorCode::InvalidArg, &traversal),
        (" .. ", ErrorCode::InvalidArg, &traversal),
        (".", ErrorCode::InvalidArg, &traversal),
        ("../models-evil/m", ErrorCode::InvalidArg, &traversal),
        ("m/../m", ErrorCode::InvalidArg, &traversal),
        ("/m", ErrorCode::InvalidArg, &traversal),
        ("m/", ErrorCode::InvalidArg, &traversal),
        ("..\\m", ErrorCode::InvalidArg, &traversal),
        ("m\0", ErrorCode::InvalidArg, &traversal),
        ("m\n", ErrorCode::Internal, &polled),
        (" m", ErrorCode::Internal, &polled),
        ("...", ErrorCode::Internal, &polled),
        ("link", ErrorCode::Internal, &polled),
        ("up", ErrorCode::Internal, &polled),
        (".hidden", ErrorCode::Internal, &polled),
        ("m-evil", ErrorCode::InvalidArg, &|_| {
            "load failed for model 'm-evil': at least one version must be available under the version policy of model \
             'm-evil'\n"
                .to_owned()
        }),
        (&long, ErrorCode::Internal, &polled),
    ];
    // The one that is a folder of the repository: nothing but its lack of versions is wrong with it.
    repo.write("models/m-evil/config.pbtxt", "backend: \"onnxruntime\"");
    for (name, code, text) in cases {
        let error = load(&repository, name).unwrap_err();
        assert_eq!((error.code(), error.message()), (code, text(name).as_str()), "{name:.20}");
        repository.unload_model(name, true).unwrap();
        repository.find(name, None).unwrap_err();
    }
    assert!(repository.loaded().is_empty());
    load(&repository, "m").unwrap();
}

#[test]
fn links_to_a_sibling_of_the_repository() {
    let (repo, options) = siblings();
    let inside = |path: &str| repo.path().join("models/m").join(path);
    let left = "which is outside the model repository";
    let not_polled = "failed to load 'm', failed to poll from model repository";
    for (path, outside, expected) in [
        ("1/model.onnx", "../../../models-evil/m/1/model.onnx", left),
        ("1", "../../models-evil/m/1", not_polled),
        ("2", "../../models-evil/m/1", left),
        ("config.pbtxt", "../../models-evil/m/config.pbtxt", not_polled),
    ] {
        fs::remove_dir_all(inside("")).unwrap();
        repo.model("models/m", &(head("m", 8) + IO), MLP);
        let _ = fs::remove_file(inside(path)).or_else(|_| fs::remove_dir_all(inside(path)));
        symlink(outside, inside(path)).unwrap();
        let error = load(&repo.open_with(options.clone()), "m").unwrap_err();
        assert!(error.message().contains(expected), "{path}: {error}");
    }
}

/// The config named by `--model-config-name` is read, unless it is elsewhere.
#[test]
fn config_names() {
    let (repo, options) = siblings();
    repo.write("models/m/configs/x.pbtxt", head("m", 4) + IO);
    symlink("../../../models-evil/x.pbtxt", repo.path().join("models/m/configs/link.pbtxt")).unwrap();
    let absolute = repo.path().join("models-evil/x").display().to_string();
    let with = |name: &str| {
        let repository = repo.open_with(Options { config_name: name.into(), ..options.clone() });
        load(&repository, "m").map(|()| repository.find("m", None).unwrap().config.max_batch_size)
    };
    for (name, expected) in [
        ("x", Some(4)),
        ("nosuch", Some(8)),
        ("../../../models-evil/nosuch", Some(8)),
        ("../../../models-evil/x", None),
        ("link", None),
        (&absolute, None),
    ] {
        assert_eq!(with(name).ok(), expected, "{name}");
    }
}

/// Files that a config names; the config itself may come over the network.
#[test]
fn files_that_a_config_names() {
    let (repo, options) = siblings();
    let evil = repo.path().join("models-evil/labels.txt");
    for folder in ["", "1/", "warmup/", "initial_state/"] {
        let folder: PathBuf = repo.path().join("models/m").join(folder);
        fs::create_dir_all(&folder).unwrap();
        symlink(&evil, folder.join("link")).unwrap();
    }
    let repository = repo.open_with(options);
    let absolute = evil.display().to_string();
    let io = r#""backend":"onnxruntime","input":[{"name":"input","data_type":"TYPE_FP32","dims":[1,28,28]}],
        "output":[{"name":"output","data_type":"TYPE_FP32","dims":[10],"label_filename":"LABELS"}],"#;
    let labels = |file: &str| format!("{{{io}\"max_batch_size\":8}}").replace("LABELS", file);
    let other = |more: String| format!("{{{io}\"max_batch_size\":8,{more}}}").replace("LABELS", "");
    let model = |file: &str| other(format!(r#""default_model_filename":"{file}""#));
    let warmup = |file: &str| {
        let input = format!(r#"{{"data_type":"TYPE_FP32","dims":[1,28,28],"input_data_file":"{file}"}}"#);
        other(format!(r#""model_warmup":[{{"name":"w","batch_size":1,"inputs":{{"input":{input}}}}}]"#))
    };
    let initial = |file: &str| {
        let state = format!(r#"{{"name":"s","data_type":"TYPE_FP32","dims":[1],"data_file":"{file}"}}"#);
        let state = format!(r#"{{"input_name":"i","output_name":"o","initial_state":[{state}]}}"#);
        other(format!(r#""sequence_batching":{{"state":[{state}]}}"#))
    };
    type Config<'a> = &'a dyn Fn(&str) -> String;
    let cases: [(Config<'_>, &str); 4] = [
        (&labels, "is outside model directory"),
        (&model, "is outside the "),
        (&warmup, "is outside the model directory"),
        (&initial, "is outside the model directory"),
    ];
    for (config, text) in cases {
        for file in
            ["../m-evil/labels.txt", "../../models-evil/labels.txt", "x/../../../y", "..", "link", &absolute]
        {
            let parameters = LoadParameters { config: Some(config(file)), ..Default::default() };
            let error = repository.load_model("m", &parameters).unwrap_err();
            let named = error.message().replace("', which", ""); // a link is shown with where it leads
            assert!(named.contains(text) || named.contains("is outside the model repository"), "{error}");
        }
    }
    assert_eq!(index(&repository).iter().filter(|line| line.contains("READY")).count(), 0);
    load(&repository, "m").unwrap();
    repo.write("models/m/warmup/some/file", [0; 4 * 28 * 28]);
    let parameters = LoadParameters { config: Some(warmup("some/file")), ..Default::default() };
    repository.load_model("m", &parameters).unwrap();
}
