//! Models that must be refused, and what the index says of them. Texts are those that a real Triton gave.

use nereid_repository::Options;

use crate::repo::{IO, MLP, Repo, failures, head, index, line};

/// Puts `m` with `config` into a repository and compares the index. `{repo}` stands for its path.
#[track_caller]
fn check(config: &str, expected: &str) {
    let repo = Repo::new();
    repo.model("m", config, MLP);
    let repository = repo.open();
    let expected = expected.replace("{repo}", repo.path().to_str().unwrap());
    assert_eq!(index(&repository), [expected]);
    assert_eq!(repository.startup_failures().len(), 1);
}

/// A model whose config cannot be used: it is in the index with its name only, the failure has the reason.
#[track_caller]
fn unpolled(config: &str, expected: &str) {
    let repo = Repo::new();
    repo.model("m", config, MLP);
    let repository = repo.open();
    assert_eq!(index(&repository), ["m"]);
    assert!(repository.index(true).unwrap().is_empty());
    let expected = expected.replace("{repo}", repo.path().to_str().unwrap());
    assert_eq!(failures(&repository), [format!("m: {expected}")]);
    let error = repository.find("m", None).unwrap_err();
    assert_eq!(error.message(), "Request for unknown model: 'm' is not found");
    assert!(repository.is_ready(), "a broken config does not count");
}

fn good() -> String {
    head("m", 8) + IO
}

#[test]
fn broken_configs() {
    let path = "failed to read text proto from {repo}/m/config.pbtxt";
    let repo = Repo::new();
    for (config, position) in
        [("name: \"m\"\nthis is not a pbtxt {", ":2:"), (&(good() + "nonsense_field: 3\n"), ":6:")]
    {
        repo.model("m", config, MLP);
        let failed = failures(&repo.open());
        let path = path.replace("{repo}", repo.path().to_str().unwrap());
        assert!(failed[0].starts_with(&format!("m: {path}{position}")), "{failed:?}");
    }
    unpolled(
        &(head("other", 8) + IO),
        "unexpected directory name 'm' for model 'other', directory name must equal model name",
    );
    unpolled(
        &good().replace("onnxruntime_onnx", "nosuch_platform"),
        "unexpected platform type 'nosuch_platform' for m",
    );
    unpolled(
        &(good() + "backend: \"tensorrt\"\n"),
        "unexpected 'platform' and 'backend' pair, got:onnxruntime_onnx, tensorrt",
    );
    unpolled(&(head("m", -1) + IO), "'max_batch_size' must be non-negative value for m");
    unpolled(
        &(good() + "dynamic_batching { preferred_batch_size: [ 16 ] }"),
        "dynamic batching preferred size must be <= max batch size for m",
    );
    unpolled(
        &(good() + "model_repository_agents { agents [ { name: \"checksum\" } ] }"),
        "unable to find 'libtritonrepoagent_checksum.so' for repo agent 'checksum': repository agents are not \
         supported yet",
    );
}

#[test]
fn broken_models() {
    let invalid = "m/1 UNAVAILABLE: Invalid argument: ";
    check(
        &good().replace("platform: \"onnxruntime_onnx\"", "backend: \"nosuch\""),
        &format!(
            "{invalid}unable to find backend library for backend 'nosuch', try specifying runtime on the model \
             configuration."
        ),
    );
    check(
        &(good() + "instance_group [ { kind: KIND_GPU count: 1 } ]"),
        &format!("{invalid}instance group m_0 of model m has kind KIND_GPU but no GPUs are available"),
    );
    check(
        &(good() + "instance_group [ { kind: KIND_CPU gpus: [ 0 ] } ]"),
        &format!("{invalid}instance group m_0 of model m has kind KIND_CPU but specifies one or more GPUs"),
    );
    for dim in ["0", "-2"] {
        check(
            &good().replace("28, 28", &format!("28, {dim}")),
            &format!(
                "{invalid}model input 'input' dimension must be integer >= 1, or -1 to indicate a variable-size \
                 dimension for m"
            ),
        );
    }
    check(
        &good().replace("[ 10 ]", "[ 10 ] label_filename: \"nolabels.txt\""),
        "m/1 UNAVAILABLE: Internal: failed to open text file for read {repo}/m/nolabels.txt: No such file or directory",
    );
    check(
        &(good() + IO),
        &format!("{invalid}unable to load model 'm', configuration expects 2 inputs, model provides 1"),
    );
    check(
        &(good()
            + "batch_output [ { target_name: \"output\" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: \"x\" } ]"),
        &format!("{invalid}unknown source input name 'x' for m"),
    );
    check(
        &(good() + "default_model_filename: \"other.onnx\""),
        "m/1 UNAVAILABLE: Internal: failed to stat file {repo}/m/1/other.onnx",
    );
    for name in ["../../m/1/model.onnx", "/etc/passwd"] {
        check(
            &(good() + &format!("default_model_filename: \"{name}\"")),
            &format!(
                "{invalid}default_model_filename '{name}' of model 'm' is outside the version directory"
            ),
        );
    }
}

#[test]
fn what_is_not_served_yet_says_so() {
    check(
        &(good() + "model_transaction_policy { decoupled: true }"),
        "m/1 UNAVAILABLE: Unsupported: model 'm' uses 'model_transaction_policy.decoupled', which is not supported yet",
    );
}

#[test]
fn models_the_backend_refuses() {
    let repo = Repo::new();
    repo.model("garbage", &(head("garbage", 8) + IO), "garbage");
    repo.model("panics", &(head("panics", 8) + IO), "panic");
    repo.model("static_batch", &head("static_batch", 8), "input input FP32 1 4\noutput output FP32 1 4\n");
    repo.model("twice", &(head("twice", 8) + IO + IO), &format!("{MLP}lenient"));
    repo.good("fine");
    let path = repo.path().display();
    let repository = repo.open();
    assert_eq!(
        index(&repository),
        [
            "fine/1 READY".to_owned(),
            format!(
                "garbage/1 UNAVAILABLE: Internal: onnx runtime error 7: Load model from {path}/garbage/1/model.onnx \
                 failed:Protobuf parsing failed."
            ),
            "panics/1 UNAVAILABLE: Internal: panic while loading: asked to panic".to_owned(),
            "static_batch/1 UNAVAILABLE: Invalid argument: autofill failed for model 'static_batch': model does not \
             support batching while non-zero max_batch_size is specified"
                .to_owned(),
            "twice/1 UNAVAILABLE: Invalid argument: model input 'input' is specified more than once for twice"
                .to_owned(),
        ]
    );
    assert_eq!(repository.index(true).unwrap().iter().map(line).collect::<Vec<_>>(), ["fine/1 READY"]);
    assert!(!repository.is_ready());
}

#[test]
fn models_without_a_version_are_known_and_not_listed() {
    let repo = Repo::new();
    repo.write("no_version/config.pbtxt", head("no_version", 8) + IO);
    repo.model(
        "missing",
        &(head("missing", 8) + IO + "version_policy: { specific { versions: [ 9 ] } }"),
        MLP,
    );
    repo.write("text/v1/model.onnx", MLP);
    repo.write("text/config.pbtxt", head("text", 8) + IO);
    std::fs::create_dir(repo.path().join("empty")).unwrap();
    let repository = repo.open();
    assert_eq!(index(&repository), ["empty"]);
    let none = |name: &str| {
        format!("{name}: at least one version must be available under the version policy of model '{name}'")
    };
    assert_eq!(
        failures(&repository),
        [
            "empty: Invalid model name: Could not determine backend for model 'empty' with no backend in model \
             configuration. Expected model name of the form 'model.<backend_name>'."
                .to_owned(),
            none("missing"),
            none("no_version"),
            none("text"),
        ]
    );
    for name in ["no_version", "missing", "text"] {
        let error = repository.find(name, None).unwrap_err();
        assert_eq!(error.message(), format!("Request for unknown model: '{name}' has no available versions"));
    }
    assert!(!repository.is_ready());
}

#[test]
fn without_auto_complete_a_config_must_be_full() {
    let repo = Repo::new();
    repo.good("full");
    repo.model("partial", &(head("partial", 8) + "input [ { name: \"input\" } ]"), MLP);
    repo.model("none", "", MLP);
    let repository = repo.open_with(Options { auto_complete: false, ..repo.options() });
    assert_eq!(index(&repository), ["full/1 READY", "none", "partial"]);
    assert_eq!(
        failures(&repository),
        [
            format!(
                "none: failed to open text file for read {}/none/config.pbtxt: No such file or directory",
                repo.path().display()
            ),
            "partial: model input 'input' must specify 'data_type' for partial".to_owned(),
        ]
    );
}
