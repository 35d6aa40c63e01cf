//! Puts what a backend read from the model into the config (`TritonModel::UpdateModelConfig`).

use nereid_core::backend::{AutoComplete, AutoCompleteRequest, TensorSpec};
use nereid_protocol::inference::model_config::SchedulingChoice;
use nereid_protocol::inference::model_instance_group::Kind;
use nereid_protocol::inference::{
    ModelConfig, ModelDynamicBatching, ModelInput, ModelOutput, ModelTensorReshape,
};

use std::path::Path;

/// The question to the backend about `config`, whose instance groups are normalised.
pub(crate) fn request<'a>(
    config: &'a ModelConfig,
    model_dir: &'a Path,
    model_file: &'a Path,
    default_max_batch_size: u32,
) -> AutoCompleteRequest<'a> {
    AutoCompleteRequest {
        model: &config.name,
        model_dir,
        model_file,
        op_libraries: config.model_operations.as_ref().map_or(&[], |o| &o.op_library_filename),
        max_batch_size: u32::try_from(config.max_batch_size).unwrap_or(0),
        default_max_batch_size,
        has_inputs: !config.input.is_empty() || !config.batch_input.is_empty(),
        has_outputs: !config.output.is_empty(),
        has_scheduler: config.scheduling_choice.is_some(),
        on_gpu: config.instance_group.iter().any(|group| group.kind() == Kind::Gpu),
    }
}

/// Applies the backend's answer. What the config says itself stays.
pub(crate) fn apply(config: &mut ModelConfig, answer: AutoComplete) {
    if let Some(size) = answer.max_batch_size {
        config.max_batch_size = i32::try_from(size).unwrap_or(i32::MAX);
    }
    if let Some(inputs) = answer.inputs {
        config.input = inputs.into_iter().map(input).collect();
    }
    if let Some(outputs) = answer.outputs {
        config.output = outputs.into_iter().map(output).collect();
    }
    if answer.dynamic_batching && config.scheduling_choice.is_none() {
        config.scheduling_choice = Some(SchedulingChoice::DynamicBatching(ModelDynamicBatching::default()));
    }
}

fn input(spec: TensorSpec) -> ModelInput {
    ModelInput {
        name: spec.name,
        data_type: spec.datatype as i32,
        dims: spec.dims,
        reshape: spec.reshape.map(|shape| ModelTensorReshape { shape }),
        ..Default::default()
    }
}

fn output(spec: TensorSpec) -> ModelOutput {
    ModelOutput {
        name: spec.name,
        data_type: spec.datatype as i32,
        dims: spec.dims,
        reshape: spec.reshape.map(|shape| ModelTensorReshape { shape }),
        ..Default::default()
    }
}
