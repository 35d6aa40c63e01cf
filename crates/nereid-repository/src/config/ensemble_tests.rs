//! Each refusal of an ensemble's own config once.

use nereid_protocol::config_text;

use super::super::{normalize, validate as whole};
use super::*;

const IO: &str =
    r#"input { name: "x" data_type: TYPE_FP32 dims: 1 } output { name: "y" data_type: TYPE_FP32 dims: 1 }"#;

/// `m(I=x)->O=y` is a step of model `m`; several are apart by blanks, maps by commas.
fn steps(text: &str) -> String {
    let maps = |field: &str, maps: &str| {
        let pairs = maps.split(',').filter_map(|map| map.split_once('='));
        pairs
            .map(|(key, value)| format!("{field} {{ key: \"{key}\" value: \"{value}\" }} "))
            .collect::<String>()
    };
    let step = |step: &str| {
        let (model, rest) = step.split_once('(').unwrap();
        let (inputs, outputs) = rest.split_once(")->").unwrap();
        format!(
            "step {{ model_name: \"{model}\" model_version: -1 {}{}}}\n",
            maps("input_map", inputs),
            maps("output_map", outputs)
        )
    };
    text.split_whitespace().map(step).collect()
}

fn config(io: &str, text: &str, more: &str) -> ModelConfig {
    let text = format!(
        "name: \"e\" platform: \"ensemble\" max_batch_size: 8 {io} {more} ensemble_scheduling {{ {} }}",
        steps(text)
    );
    let mut config = config_text::parse(&text).unwrap();
    normalize::defaults(&mut config);
    config
}

#[track_caller]
fn refused(config: &ModelConfig, expected: &str) {
    assert_eq!(whole::validate(config).unwrap_err().message(), expected);
}

#[test]
fn good_ones() {
    for good in [
        "a(I=x)->O=y",
        "a(I=x)->O=t b(I=t)->O=y",
        "b(I=t)->O=y a(I=x)->O=t",
        "a(I=x)->L=l,R=r b(I=l)->O=m c(I=r)->O=n d(I=m,J=n)->O=y",
        "a(I=x,J=x)->O=y",
    ] {
        assert_eq!(whole::validate(&config(IO, good, "")), Ok(()), "{good}");
    }
}

#[test]
fn what_does_not_belong_there() {
    for (more, expected) in [
        ("instance_group { count: 1 }", "instance group should not be specified for ensemble 'e'"),
        ("optimization { }", "optimization should not be specified for ensemble 'e'"),
        ("model_warmup { name: \"w\" }", "model_warmup can not be specified for ensemble 'e'"),
        ("backend: \"mine\"", "Ensemble model 'e' must have platform type 'ensemble' and empty backend type"),
    ] {
        refused(&config(IO, "a(I=x)->O=y", more), expected);
    }
    let mut onnx = config(IO, "a(I=x)->O=y", "");
    (onnx.platform, onnx.backend) = ("onnxruntime_onnx".into(), "onnxruntime".into());
    refused(&onnx, "ensemble scheduling cannot be set for model 'e' whose platform is not ensemble");
    let mut none = config(IO, "", "");
    refused(&none, "must specify 'step' for ensemble 'e'");
    none.scheduling_choice = None;
    refused(&none, "ensemble scheduling must be set for ensemble e whose platform is ensemble");
}

#[test]
fn steps_that_are_not_complete() {
    for (steps, expected) in [
        ("(I=x)->O=y", "must specify 'model_name' in step 0 of ensemble 'e'"),
        ("a(I=x)->O=t b()->O=y", "must specify 'input_map' in step 1 of ensemble 'e'"),
        ("a(I=x)->", "must specify 'output_map' in step 0 of ensemble 'e'"),
    ] {
        refused(&config(IO, steps, ""), expected);
    }
}

#[test]
fn tensors_that_lead_nowhere() {
    let two = IO.to_owned() + r#"input { name: "v" data_type: TYPE_FP32 dims: 1 }"#;
    for (io, steps, expected) in [
        (
            IO,
            "a(I=x)->O=y b(I=x)->O=y",
            "ensemble tensor 'y' can appear in an output map only once for ensemble 'e' step 1",
        ),
        (
            IO,
            "a(I=x)->O=y,P=y",
            "ensemble tensor 'y' can appear in an output map only once for ensemble 'e' step 0",
        ),
        (&*two, "a(I=x)->O=y", "ensemble input 'v' for ensemble e is not used"),
        (IO, "a(I=x)->O=zzz", "ensemble output 'y' for ensemble e is not used"),
        (
            IO,
            "a(I=x,J=t)->O=y",
            "output 'y' for ensemble 'e' is not written: at least one of its depending tensors, 't', is not connected",
        ),
        (
            IO,
            "a(I=x,J=s)->O=y b(I=t)->O=s c(I=s)->O=t",
            "output 'y' for ensemble 'e' is not written: at least one of its depending tensors, 't', is not connected",
        ),
        (IO, "a(I=x)->O=y b(I=x)->O=t", "ensemble tensor 't' is unused in ensemble 'e'"),
        (IO, "a(I=x)->O=y b(I=s)->O=t", "ensemble tensor 's' is unused in ensemble 'e'"),
    ] {
        refused(&config(io, steps, ""), expected);
    }
}

#[test]
fn what_the_program_works_with() {
    let config = config(IO, "a(J=x,I=x)->O=y", "");
    let mut wire = of(&config).unwrap().clone();
    (wire.max_inflight_requests, wire.step[0].model_namespace) = (3, "n".into());
    let ensemble = convert(&wire);
    assert_eq!(ensemble.max_inflight_requests, 3);
    let step = &ensemble.steps[0];
    assert_eq!((&*step.model, &*step.namespace, step.version), ("a", "n", None));
    let mapping = |model: &str, ensemble: &str| Mapping { model: model.into(), ensemble: ensemble.into() };
    assert_eq!(step.inputs, [mapping("I", "x"), mapping("J", "x")]);
    assert_eq!(step.outputs, [mapping("O", "y")]);
    wire.step[0].model_version = 7;
    assert_eq!(convert(&wire).steps[0].version, Some(7));
}
