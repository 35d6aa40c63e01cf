//! Each disagreement between an ensemble and its models once.

use nereid_protocol::config_text;

use super::*;

const ENSEMBLE: &str = r#"
    name: "e" platform: "ensemble" max_batch_size: 4
    input { name: "x" data_type: TYPE_FP32 dims: [ 3, 4 ] }
    output { name: "y" data_type: TYPE_INT32 dims: [ 5 ] }
    ensemble_scheduling {
      step {
        model_name: "m" model_version: -1
        input_map { key: "I" value: "x" } output_map { key: "O" value: "y" }
      }
    }"#;
const MODEL: &str = r#"
    name: "m" max_batch_size: 8
    input { name: "I" data_type: TYPE_FP32 dims: [ 3, 4 ] }
    output { name: "O" data_type: TYPE_INT32 dims: [ 5 ] }"#;

fn check(ensemble: &str, model: &str) -> Result<(), String> {
    let (ensemble, model) = (config_text::parse(ensemble).unwrap(), config_text::parse(model).unwrap());
    validate(&ModelId::bare("e"), &ensemble, &[&model]).map_err(|e| e.message().to_owned())
}

/// With one text in the model replaced.
#[track_caller]
fn model(from: &str, to: &str, expected: Result<(), &str>) {
    assert!(MODEL.contains(from));
    assert_eq!(check(ENSEMBLE, &MODEL.replace(from, to)), expected.map_err(str::to_owned), "{to}");
}

#[test]
fn shapes_are_compared_as_far_as_they_are_fixed() {
    model("m", "m", Ok(()));
    model("[ 3, 4 ]", "[ -1, 4 ]", Ok(()));
    model("[ 3, 4 ]", "[ 3, 4 ] reshape { shape: [ 12 ] }", Ok(()));
    for (dims, shown) in [("[ 3, 5 ]", "[-1,3,5]"), ("[ 3 ]", "[-1,3]"), ("[ 1, 3, 4 ]", "[-1,1,3,4]")] {
        model(
            "[ 3, 4 ]",
            dims,
            Err(&format!(
                "in ensemble e, ensemble tensor x: inconsistent shape: [-1,3,4] is inferred from model e while {shown} is \
                 inferred from model m"
            )),
        );
    }
    // One that does not batch takes whole batches.
    let whole = MODEL.replace("size: 8", "size: 0").replace("[ 3", "[ -1, 3").replace("[ 5", "[ -1, 5");
    assert_eq!(check(ENSEMBLE, &whole), Ok(()));
    let single = MODEL.replace("size: 8", "size: 0");
    assert_eq!(check(ENSEMBLE, &single), Ok(()), "or one row of them");
    let reshaped = ENSEMBLE.replace("[ 3, 4 ]", "[ 12 ] reshape { shape: [ 3, 4 ] }");
    assert_eq!(check(&reshaped, MODEL), Ok(()));
}

#[test]
fn disagreements() {
    model(
        "size: 8",
        "size: 2",
        Err(
            "ensemble e allows maximum batch size 4, but it contains model m which only allows maximum batch size to be 2",
        ),
    );
    model(
        "TYPE_INT32",
        "TYPE_INT64",
        Err(
            "in ensemble e, ensemble tensor y: inconsistent data type: TYPE_INT32 is inferred from model e while \
             TYPE_INT64 is inferred from model m",
        ),
    );
    model(
        "name: \"I\"",
        "name: \"J\"",
        Err("in ensemble e, ensemble tensor x is mapping to non-existing input I in model m"),
    );
    model(
        "name: \"O\"",
        "name: \"P\"",
        Err("in ensemble e, ensemble tensor y is mapped from non-existing output O in model m"),
    );
    let more = MODEL.to_owned() + r#"input { name: "J" data_type: TYPE_FP32 dims: 1 }"#;
    assert_eq!(
        check(ENSEMBLE, &more).unwrap_err(),
        "in ensemble e, input J in model m is not mapped to any ensemble tensors"
    );
    assert_eq!(check(ENSEMBLE, &more.replace("dims: 1 }", "dims: 1 optional: true }")), Ok(()));
}

#[test]
fn models_are_named_with_their_namespace() {
    let ensemble = ENSEMBLE.replace("model_version", "model_namespace: \"n\" model_version");
    let model = MODEL.replace("TYPE_FP32", "TYPE_FP16");
    assert_eq!(
        check(&ensemble, &model).unwrap_err(),
        "in ensemble e, ensemble tensor x: inconsistent data type: TYPE_FP32 is inferred from model e while TYPE_FP16 is \
         inferred from model n::m"
    );
}
