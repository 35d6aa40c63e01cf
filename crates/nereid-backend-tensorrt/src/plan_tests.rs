//! Tests of `plan`.

use nereid_core::DataType::{Fp32, Int32, Int64};
use nereid_core::config::{InputConfig, TensorForm};

use super::*;
use crate::testing::{
    TestEngine, chw32, declared, declared_output, input, output, ragged, variable_profiles, with_shape_tensor,
};

fn plan(config: &ModelConfig, engine: &TestEngine, profiles: &[&str]) -> Plan {
    let names: Vec<String> = profiles.iter().map(|name| (*name).to_owned()).collect();
    Plan::new(config, engine.info(), &names, "m_0").unwrap()
}

fn names<'a>(tensors: impl Iterator<Item = &'a TensorPlan>) -> Vec<&'a str> {
    tensors.map(|tensor| &*tensor.shown_name).collect()
}

#[test]
fn tensors_in_the_order_of_the_engine() {
    let config = ModelConfig {
        name: "m".into(),
        max_batch_size: 8,
        inputs: vec![declared("INPUT1", Fp32, &[-1]), declared("INPUT0", Fp32, &[20])],
        outputs: vec![declared_output("OUTPUT1", Fp32, &[-1]), declared_output("OUTPUT0", Fp32, &[-1])],
        ..Default::default()
    };
    let plan = plan(&config, &variable_profiles(&[(1, 4), (1, 16)]), &["1", "0"]);
    assert!(plan.batches && !plan.has_shape_tensors());
    assert_eq!(names(plan.inputs.iter().map(|input| &input.tensor)), ["INPUT0", "INPUT1"]);
    assert_eq!(names(plan.outputs.iter().map(|output| &output.tensor)), ["OUTPUT0", "OUTPUT1"]);
    let sources: Vec<_> = plan.inputs.iter().map(|input| input.source).collect();
    assert_eq!(sources, [Source::Requests { index: 1 }, Source::Requests { index: 0 }]);
    assert_eq!(plan.outputs.iter().map(|output| output.index).collect::<Vec<_>>(), [1, 0]);
    assert!(plan.inputs[0].tensor.is_dynamic());
    // Profiles by number, cut to what the config allows.
    assert_eq!(plan.profiles.iter().map(|profile| profile.index).collect::<Vec<_>>(), [0, 1]);
    let most: Vec<Vec<_>> =
        plan.ranges.iter().map(|ranges| ranges.iter().map(|range| range.max.clone()).collect()).collect();
    assert_eq!(most, [[vec![4, 20], vec![4, 32]], [vec![8, 20], vec![8, 32]]]);
}

#[test]
fn shape_tensors() {
    let shape_input = InputConfig { form: TensorForm::Shape, ..declared("INPUT0", Int32, &[2]) };
    let shape_output = OutputConfig { form: TensorForm::Shape, ..declared_output("OUTPUT0", Int64, &[2]) };
    let config = ModelConfig {
        name: "m".into(),
        max_batch_size: 4,
        inputs: vec![declared("DUMMY_INPUT0", Fp32, &[-1, -1]), shape_input],
        outputs: vec![shape_output, declared_output("DUMMY_OUTPUT0", Fp32, &[-1, -1])],
        ..Default::default()
    };
    let plan = plan(&config, &with_shape_tensor(), &[]);
    assert!(plan.has_shape_tensors());
    let values = &plan.inputs[0];
    assert!(values.tensor.is_shape_tensor && values.tensor.on_host && !values.tensor.is_dynamic());
    assert_eq!((values.source, values.tensor.element_size), (Source::Requests { index: 1 }, 4));
    assert_eq!(plan.ranges[0][0].max, [3], "the number of values, which no batch size cuts");
    assert_eq!(plan.ranges[0][0].values, Some([vec![1, 1, 1], vec![8, 4, 4], vec![8, 32, 32]]));
    assert_eq!(plan.ranges[0][1].max, [4, 32, 32]);
    assert_eq!((plan.outputs[1].index, plan.outputs[1].tensor.element_size), (0, 8));
}

#[test]
fn sizes() {
    let engine = TestEngine::default()
        .tensor(chw32(input("x", &[-1, 13, 2, 1])))
        .tensor(output("y", &[-1, 13, 2, 1]))
        .profile(&[("x", &[1, 13, 2, 1], &[4, 13, 2, 1], &[8, 13, 2, 1])]);
    let config = ModelConfig {
        name: "m".into(),
        max_batch_size: 8,
        inputs: vec![InputConfig { form: TensorForm::NonLinear, ..declared("x", Fp32, &[13, 2, 1]) }],
        outputs: vec![declared_output("y", Fp32, &[13, 2, 1])],
        ..Default::default()
    };
    let plan = plan(&config, &engine, &[]);
    let (x, y) = (&plan.inputs[0].tensor, &plan.outputs[0].tensor);
    assert_eq!(x.byte_size(&[3, 13, 2, 1]), Some(3 * 32 * 2 * 4));
    assert_eq!(y.byte_size(&[3, 13, 2, 1]), Some(3 * 13 * 2 * 4));
    assert_eq!(y.byte_size(&[i64::MAX, 2]), None);
    assert_eq!(y.byte_size(&[]), Some(4));
}

#[test]
fn what_is_made_for_a_batch() {
    let (engine, config) = ragged();
    let plan = plan(&config, &engine, &[]);
    let inputs: Vec<_> = plan.inputs.iter().map(|input| (input.source, input.ragged)).collect();
    assert_eq!(inputs, [(Source::Batch { index: 0 }, false), (Source::Requests { index: 0 }, true)]);
    // Neither is limited by the number of rows.
    assert_eq!([&plan.ranges[0][0].max, &plan.ranges[0][1].max], [&[16], &[256]]);
    assert!(plan.outputs[0].scattered);
}

#[test]
fn shapes_that_clients_see() {
    let shown = |reshape: Option<&[i64]>, dims: &[i64], engine: &[i64], batches: bool, actual: &[i64]| {
        let output =
            OutputConfig { reshape: reshape.map(<[i64]>::to_vec), ..declared_output("y", Fp32, dims) };
        let config = ModelConfig {
            max_batch_size: if batches { 8 } else { 0 },
            inputs: vec![declared("x", Fp32, &[2])],
            outputs: vec![output],
            ..Default::default()
        };
        let shape: &[i64] = if batches { &[-1, 2] } else { &[2] };
        let most: &[i64] = if batches { &[8, 2] } else { &[2] };
        let engine = TestEngine::default()
            .tensor(input("x", shape))
            .tensor(crate::testing::output("y", engine))
            .profile(&[("x", most, most, most)]);
        let plan = plan(&config, &engine, &[]).outputs.remove(0);
        plan.shown_shape(actual).map(|shape| shape.to_vec()).map_err(|e| e.with_code())
    };
    assert_eq!(shown(None, &[2], &[-1, 2], true, &[5, 2]), Ok(vec![5, 2]));
    assert_eq!(shown(Some(&[4, -1]), &[2, 2, -1], &[-1, 4, -1], true, &[5, 4, 7]), Ok(vec![5, 2, 2, 7]));
    assert_eq!(shown(Some(&[]), &[1], &[-1], true, &[5]), Ok(vec![5, 1]));
    assert_eq!(shown(Some(&[2, 3]), &[6], &[2, 3], false, &[2, 3]), Ok(vec![6]));
    assert_eq!(
        shown(Some(&[2, 3]), &[6], &[-1, 2, 3], true, &[5, 6]),
        Err("Internal: output 'y' has shape [5,6], which cannot be reshaped from [2,3] to [6]".to_owned())
    );
}

#[test]
fn a_config_that_does_not_fit() {
    let engine = variable_profiles(&[(1, 4)]);
    let refused = |names: &[String]| {
        Plan::new(&ModelConfig::default(), engine.info(), names, "m_0").unwrap_err().message().to_owned()
    };
    assert!(refused(&["1".to_owned()]).starts_with("Can not set the specified optimization profile 1[1]"));
    assert!(refused(&[]).starts_with("failed to specify the dimensions of all input tensors"));
}
