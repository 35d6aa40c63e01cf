//! What a model runs before it is ready: with which data, how often, and what becomes of a failure.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use nereid_core::ErrorCode;
use nereid_repository::{ModelVersion, Repository};

use crate::backend::Seen;
use crate::repo::{IDENTITY, PATIENCE, Repo, failures, head, index, load};

const ONE: &str = "instance_group [ { count: 1 kind: KIND_CPU } ]\n";
/// Two instances that take requests, and one that does not.
const GROUPS: &str =
    "instance_group [ { count: 2 kind: KIND_CPU }, { count: 1 kind: KIND_CPU passive: true } ]\n";
const ZEROS: &str = "data_type: TYPE_FP32 dims: 2 zero_data: true";

fn sample(name: &str, more: &str, inputs: &[(&str, &str)]) -> String {
    let inputs =
        inputs.iter().map(|(key, value)| format!(" inputs {{ key: \"{key}\" value {{ {value} }} }}"));
    format!("model_warmup {{ name: \"{name}\" {more}{} }}\n", inputs.collect::<String>())
}

fn find(repository: &Repository) -> Arc<ModelVersion> {
    repository.find("m", None).unwrap()
}

/// Successes, rows and executions.
fn counted(model: &ModelVersion) -> (u64, u64, u64) {
    let counts = model.scheduler().statistics().snapshot();
    (counts.success.count, counts.inference_count, counts.execution_count)
}

/// What a model of one instance with these `samples` is given.
fn seen(max_batch_size: i32, signature: &str, samples: &str, files: &[(&str, &[u8])]) -> Vec<Seen> {
    let repo = Repo::new();
    let config = head("m", max_batch_size) + ONE + samples;
    repo.model("m", &config, &format!("{signature}watched"));
    for (name, data) in files {
        repo.write(&format!("m/warmup/{name}"), data);
    }
    let repository = repo.open();
    assert_eq!(failures(&repository), Vec::<String>::new());
    repo.backend.watch.take()
}

#[test]
fn every_active_instance_runs_every_sample_and_that_counts() {
    let repo = Repo::new();
    let samples = sample("twice", "batch_size: 4 count: 2", &[("INPUT0", ZEROS)])
        + &sample("once", "batch_size: 1", &[("INPUT0", ZEROS)])
        + &sample("never", "count: 9", &[("INPUT0", ZEROS)]);
    repo.model("m", &(head("m", 8) + GROUPS + &samples), &format!("{IDENTITY}watched"));
    let repository = repo.explicit(&["m"]);
    assert_eq!(counted(&find(&repository)), (2 * (2 * 4 + 1), 2 * (2 * 4 + 1), 2 * (2 + 1)));
    let mut batches: Vec<usize> = repo.backend.watch.take().iter().map(Vec::len).collect();
    batches.sort_unstable();
    assert_eq!(batches, [1, 1, 4, 4, 4, 4]);
    let batches = find(&repository).scheduler().statistics().snapshot().batches;
    assert_eq!(batches.keys().copied().collect::<Vec<_>>(), [1, 4]);
    // Instances that are changed in place are new ones.
    repo.write("m/config.pbtxt", head("m", 8) + &samples + ONE);
    load(&repository, "m").unwrap();
    assert_eq!(counted(&find(&repository)), (27, 27, 9));
    // Nothing has changed: nothing runs.
    load(&repository, "m").unwrap();
    assert_eq!(counted(&find(&repository)), (27, 27, 9));
}

#[test]
fn zeros_random_bytes_and_files() {
    let check = |data: &str, expected: &dyn Fn(&[u8]) -> bool| {
        let input = format!("data_type: TYPE_FP32 dims: 2 {data}");
        let samples = sample("s", "batch_size: 1", &[("INPUT0", &input)]);
        let files: [(&str, &[u8]); 2] = [("raw", b"abcdefgh"), ("folder/raw", b"abcdefgh and more")];
        let plain = "input INPUT0 FP32 2\noutput OUTPUT0 FP32 2\n";
        for (max_batch_size, signature, shape) in [(0, plain, vec![2]), (8, IDENTITY, vec![1, 2])] {
            let batches = seen(max_batch_size, signature, &samples, &files);
            let (given, bytes) = &batches[0][0][0];
            assert!((batches.len(), given) == (1, &shape) && expected(bytes), "{data}: {batches:?}");
        }
    };
    check("zero_data: true", &|bytes| bytes == [0; 8]);
    check("zero_data: false", &|bytes| bytes == [0; 8]);
    check("random_data: true", &|bytes| bytes.len() == 8 && bytes != [0; 8]);
    check("input_data_file: \"raw\"", &|bytes| bytes == b"abcdefgh");
    check("input_data_file: \"folder/raw\"", &|bytes| bytes == b"abcdefgh");
}

#[test]
fn requests_of_a_batch_are_alike() {
    let random = "data_type: TYPE_FP32 dims: 2 random_data: true";
    let batches = seen(8, IDENTITY, &sample("s", "batch_size: 3 count: 2", &[("INPUT0", random)]), &[]);
    assert_eq!(batches.len(), 2);
    for batch in &batches {
        assert_eq!(batch.len(), 3);
        assert!(batch.iter().all(|request| *request == batches[0][0]));
    }
}

#[test]
fn strings() {
    const STRINGS: &str = "input INPUT0 BYTES -1 -1\noutput OUTPUT0 BYTES -1 -1\n";
    let file = b"\x03\0\0\x00233\0\0\0\0";
    for (data, expected) in [
        ("zero_data: true", &[0; 8][..]),
        ("random_data: true", &[0; 8]), // random lengths would make no string
        ("input_data_file: \"raw_string_data\"", file),
    ] {
        let input = format!("data_type: TYPE_STRING dims: 2 {data}");
        let samples = sample("s", "batch_size: 2", &[("INPUT0", &input)]);
        for request in seen(8, STRINGS, &samples, &[("raw_string_data", file)]).concat() {
            assert_eq!(request, [(vec![1, 2], Bytes::copy_from_slice(expected))], "{data}");
        }
    }
}

const SEQUENCE: &str = r#"
    sequence_batching {
        control_input [
            { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 3, 4 ] } ] },
            { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY fp32_false_true: [ 0, 1 ] } ] },
            { name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] }
        ]
        state [ { input_name: "IN" output_name: "OUT" data_type: TYPE_INT8 dims: 2 } ]
    }
"#;

/// The state that goes out is not there: what is looked at is what goes in.
#[test]
fn what_a_sequence_batcher_would_add() {
    let plain = "input INPUT0 FP32 -1 2\noutput OUTPUT0 FP32 -1 2\n";
    let stateless = SEQUENCE.split("state [").next().unwrap().to_owned() + "}\n";
    let check = |inputs: &[(&str, &str)], expected: &[&[u8]]| {
        let samples = sample("s", "batch_size: 2 count: 2", inputs);
        let batches = seen(8, plain, &(stateless.clone() + &samples), &[]);
        assert_eq!(batches.len(), 2);
        for request in batches.concat() {
            let (shapes, data): (Vec<_>, Vec<_>) = request.into_iter().unzip();
            assert_eq!(shapes, [vec![1, 2], vec![1, 1], vec![1, 1], vec![1, 1]]);
            assert_eq!(data[1..], *expected);
        }
    };
    let given = ("START", "data_type: TYPE_INT32 dims: 1 zero_data: true");
    check(&[("INPUT0", ZEROS)], &[&3_i32.to_le_bytes(), &1_f32.to_le_bytes(), &[0; 8]]);
    check(&[("INPUT0", ZEROS), given], &[&[0; 4], &1_f32.to_le_bytes(), &[0; 8]]);
    let wrong = [("INPUT0", ZEROS), ("READY", "data_type: TYPE_INT32 dims: 1 zero_data: true")];
    for (samples, text) in [
        (&wrong[..], "warmup sample 's' of model 'm' gives input 'READY' as INT32 [1], expected FP32 [1]"),
        (
            &[("INPUT0", ZEROS)],
            "failed to run warmup sample 's': model 'm' left out a state of its sequences; ",
        ),
    ] {
        let repo = Repo::new();
        let sequence = if samples.len() == 1 { SEQUENCE } else { &stateless };
        let config = head("m", 8) + ONE + sequence + &sample("s", "batch_size: 2", samples);
        repo.model("m", &config, &format!("{plain}watched"));
        let failures = failures(&repo.open());
        assert!(failures.len() == 1 && failures[0].contains(text), "{failures:?}");
        for request in repo.backend.watch.take().concat() {
            assert_eq!(request[4], (vec![1, 2], Bytes::from_static(&[0, 0])), "the initial state");
        }
    }
}

#[test]
fn samples_that_do_not_fit_fail_the_load_and_nothing_else() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "batch_size: 1",
            "data_type: TYPE_FP32 dims: [ 2, -1 ] zero_data: true",
            "warmup setting expects all variable-size dimensions are specified for input 'INPUT0'",
        ),
        (
            "batch_size: 1",
            "data_type: TYPE_FP32 dims: -2 zero_data: true",
            "tensor 'INPUT0' contains an invalid dimension in shape [-2]",
        ),
        (
            "batch_size: 1",
            "data_type: TYPE_FP32 dims: [ 9223372036854775807, 2 ] zero_data: true",
            "byte size for tensor 'INPUT0' exceeds maximum size of 9223372036854775807",
        ),
        (
            "batch_size: 1",
            "data_type: TYPE_FP32 dims: 2",
            "[request id: <id_unknown>] warmup setting expects input 'INPUT0' to have input_data_type set",
        ),
        (
            "batch_size: 1",
            "data_type: TYPE_FP32 dims: 2 input_data_file: \"short\"",
            "[request id: <id_unknown>] warmup setting expects 8 bytes, but the data provided from shortonly has 5 bytes",
        ),
        (
            "batch_size: 1",
            "data_type: TYPE_FP32 dims: 2 input_data_file: \"nosuch\"",
            "Internal: failed to open text file for read {repo}/m/warmup/nosuch: No such file or directory",
        ),
        (
            "batch_size: 1",
            "data_type: TYPE_FP32 dims: 2 input_data_file: \"folder\"",
            "Internal: failed to open text file for read {repo}/m/warmup/folder: not a regular file",
        ),
        (
            "batch_size: 1",
            "data_type: TYPE_FP32 dims: 2 input_data_file: \"../1/model.onnx\"",
            "warmup file '../1/model.onnx' of model 'm' is outside the model directory",
        ),
        (
            "batch_size: 1",
            "data_type: TYPE_INT32 dims: 2 zero_data: true",
            "[request id: <id_unknown>] inference input 'INPUT0' data-type is 'INT32', but model 'm' expects 'FP32'",
        ),
        ("batch_size: 9", ZEROS, "failed to run warmup sample 's': batch size 9 for 'm', max allowed is 8; "),
        (
            "batch_size: 4",
            "data_type: TYPE_FP32 dims: [ 134217728 ] zero_data: true",
            "warmup sample 's' of model 'm' has 4 requests, which with 536870912 bytes each are more than the limit of \
             2147483648 bytes for a batch, and for one request of each sample together",
        ),
    ];
    for (more, input, expected) in cases {
        let repo = Repo::new();
        repo.good("other");
        repo.model(
            "m",
            &(head("m", 8) + &sample("s", more, &[("INPUT0", input)])),
            &format!("{IDENTITY}watched"),
        );
        repo.write("m/warmup/short", "abcde");
        repo.write("m/warmup/folder/x", "");
        let repository = repo.open();
        let code = if expected.starts_with("Internal") { "" } else { "Invalid argument: " };
        let expected = format!("{code}{expected}").replace("{repo}", &repo.path().display().to_string());
        assert_eq!(index(&repository), [format!("m/1 UNAVAILABLE: {expected}"), "other/1 READY".into()]);
        assert_eq!(repo.backend.watch.take(), Vec::<Seen>::new(), "nothing ran");
    }
}

#[test]
fn wrong_inputs_are_refused_like_those_of_a_request() {
    for (inputs, text) in [
        (&[][..], "expected 1 inputs but got 0 inputs for model 'm'"),
        (&[("INPUT1", ZEROS)][..], "unexpected inference input 'INPUT1' for model 'm'"),
        (
            &[("INPUT0", "data_type: TYPE_FP32 dims: [ 2, 2 ] zero_data: true")][..],
            "unexpected shape for input 'INPUT0'",
        ),
    ] {
        let repo = Repo::new();
        repo.model("m", &(head("m", 8) + &sample("s", "batch_size: 1", inputs)), IDENTITY);
        let failures = failures(&repo.open());
        assert!(failures.len() == 1 && failures[0].contains(text), "{failures:?}");
    }
}

#[test]
fn all_samples_together_are_bounded() {
    let repo = Repo::new();
    let large = "data_type: TYPE_FP32 dims: [ 268435456 ] zero_data: true"; // 1 GiB of untouched zeros
    let samples: String =
        (0..3).map(|n| sample(&n.to_string(), "batch_size: 1", &[("INPUT0", large)])).collect();
    repo.model("m", &(head("m", 8) + &samples), IDENTITY);
    let failures = failures(&repo.open());
    assert!(failures[0].contains("warmup sample '2' of model 'm' has 1 requests"), "{failures:?}");
}

#[test]
fn a_model_that_fails_does_not_load() {
    let repo = Repo::new();
    repo.good("other");
    let samples = sample("zero sample", "batch_size: 2 count: 5", &[("INPUT0", ZEROS)]);
    repo.model("m", &(head("m", 8) + ONE + &samples), &format!("{IDENTITY}failing watched"));
    let repository = repo.explicit(&["m", "other"]);
    let reason = "failed to run warmup sample 'zero sample': An Error Occurred; ";
    assert_eq!(
        index(&repository),
        [format!("m/1 UNAVAILABLE: Invalid argument: {reason}"), "other/1 READY".into()]
    );
    assert_eq!(repo.backend.watch.take().len(), 1, "nothing runs after the failure");
    // What serves goes on to serve.
    repo.write("m/1/model.onnx", IDENTITY);
    load(&repository, "m").unwrap();
    let serving = find(&repository);
    repo.write("m/1/model.onnx", format!("{IDENTITY}failing"));
    assert!(load(&repository, "m").unwrap_err().message().contains(reason));
    assert!(Arc::ptr_eq(&serving, &find(&repository)));
}

#[test]
fn nothing_is_ready_before() {
    let repo = Repo::new();
    let samples = sample("s", "batch_size: 1", &[("INPUT0", ZEROS)]);
    repo.model("m", &(head("m", 8) + &samples), &format!("{IDENTITY}watched slow"));
    let repository = repo.explicit(&[]);
    thread::scope(|scope| {
        let loading = scope.spawn(|| load(&repository, "m"));
        while repo.backend.watch.take().is_empty() {
            thread::yield_now();
        }
        let (states, ready) = (index(&repository), repository.ready_versions("m"));
        repo.backend.gate.open(); // before anything can fail
        loading.join().unwrap().unwrap();
        assert_eq!((states, ready), (vec!["m/1 LOADING".to_owned()], vec![]));
    });
    assert_eq!(repository.ready_versions("m"), [1]);
}

#[test]
fn the_end_of_the_server_stops_it() {
    let repo = Repo::new();
    let samples = sample("s", "batch_size: 1", &[("INPUT0", ZEROS)]);
    repo.model("m", &(head("m", 8) + GROUPS + &samples), &format!("{IDENTITY}watched endless"));
    let repository = repo.explicit(&[]);
    thread::scope(|scope| {
        let loading = scope.spawn(|| load(&repository, "m"));
        let mut running = 0;
        while running < 2 {
            running += repo.backend.watch.take().len();
            thread::yield_now();
        }
        assert_eq!(repository.shutdown(PATIENCE), 0);
        let error = loading.join().unwrap().unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArg);
        assert!(
            error.message().contains("warm-up of model 'm' was stopped: the server is ending"),
            "{error}"
        );
    });
    assert_eq!(repository.shutdown(Duration::ZERO), 0);
}
