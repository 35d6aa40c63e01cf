//! The one place where the `ModelConfig` message becomes the config that the program trusts.
//! It takes normalised, validated configs and checks only what the types demand.

use std::collections::BTreeMap;

use nereid_core::config::{
    Accelerator, CudaOptimization, DynamicBatching, GraphShape, GraphSpec, InputConfig, Optimization,
    OutputConfig, QueuePolicy, Scheduling, StreamPriority, TensorForm, TimeoutAction,
};
use nereid_core::{DataType, Error, ModelConfig, Result};
use nereid_protocol::inference as wire;
use wire::model_optimization_policy::cuda::{GraphSpec as WireGraphSpec, graph_spec};
use wire::model_optimization_policy::{Cuda, ModelPriority, execution_accelerators};

use super::{batch_io, dynamic_batching, ensemble, instances, warm_up};

/// Converts `config`, all but its sequence batcher, which [`super::sequence::apply`] adds.
///
/// # Errors
/// Internal, if a check that comes earlier was left out; InvalidArg for a warm-up that lacks something.
pub(crate) fn convert(config: &wire::ModelConfig) -> Result<ModelConfig> {
    let max_batch_size = u32::try_from(config.max_batch_size)
        .map_err(|_| Error::internal(format!("negative max_batch_size of model '{}'", config.name)))?;
    Ok(ModelConfig {
        name: config.name.clone(),
        backend: config.backend.clone(),
        max_batch_size,
        inputs: config.input.iter().map(input).collect::<Result<_>>()?,
        outputs: config.output.iter().map(output).collect::<Result<_>>()?,
        injected_inputs: Vec::new(),
        hidden_outputs: Vec::new(),
        batch_inputs: batch_io::inputs(config)?,
        batch_outputs: batch_io::outputs(config)?,
        scheduling: match (dynamic_batching(config), ensemble::of(config)) {
            (Some(batching), _) => Scheduling::DynamicBatching(dynamic(batching, max_batch_size)),
            (None, Some(ensemble)) => Scheduling::Ensemble(ensemble::convert(ensemble)),
            (None, None) => Scheduling::Default,
        },
        response_cache: config.response_cache.is_some_and(|cache| cache.enable),
        instances: instances::specs(config),
        model_filename: config.default_model_filename.clone(),
        parameters: config
            .parameters
            .iter()
            .map(|(key, value)| (key.clone(), value.string_value.clone()))
            .collect(),
        optimization: config.optimization.as_ref().map(optimization).unwrap_or_default(),
        cc_model_filenames: config.cc_model_filenames.clone().into_iter().collect(),
        op_libraries: config.model_operations.iter().flat_map(|o| o.op_library_filename.clone()).collect(),
        warm_up: warm_up::samples(&config.model_warmup)?,
    })
}

fn input(input: &wire::ModelInput) -> Result<InputConfig> {
    Ok(InputConfig {
        name: input.name.as_str().into(),
        datatype: datatype(input.data_type, &input.name)?,
        dims: input.dims.clone(),
        reshape: input.reshape.as_ref().map(|reshape| reshape.shape.clone()),
        optional: input.optional,
        allow_ragged_batch: input.allow_ragged_batch,
        form: form(input.is_shape_tensor, input.is_non_linear_format_io),
    })
}

fn output(output: &wire::ModelOutput) -> Result<OutputConfig> {
    Ok(OutputConfig {
        name: output.name.as_str().into(),
        datatype: datatype(output.data_type, &output.name)?,
        dims: output.dims.clone(),
        reshape: output.reshape.as_ref().map(|reshape| reshape.shape.clone()),
        form: form(output.is_shape_tensor, output.is_non_linear_format_io),
    })
}

fn form(is_shape: bool, is_non_linear: bool) -> TensorForm {
    match (is_shape, is_non_linear) {
        (true, _) => TensorForm::Shape,
        (false, true) => TensorForm::NonLinear,
        (false, false) => TensorForm::Linear,
    }
}

fn datatype(number: i32, tensor: &str) -> Result<DataType> {
    DataType::from_number(number)
        .ok_or_else(|| Error::internal(format!("tensor '{tensor}' has no data type ({number})")))
}

/// Preferred sizes in the form that the dynamic batcher wants.
pub(super) fn preferred(sizes: &[i32], max_batch_size: u32) -> Vec<u32> {
    let mut preferred: Vec<u32> = sizes.iter().filter_map(|size| u32::try_from(*size).ok()).collect();
    preferred.sort_unstable();
    preferred.dedup();
    if preferred.is_empty() {
        // A model that does not batch prefers nothing on the wire; its requests still run one by one.
        preferred.push(max_batch_size.max(1));
    }
    preferred
}

fn dynamic(batching: &wire::ModelDynamicBatching, max_batch_size: u32) -> DynamicBatching {
    DynamicBatching {
        preferred_batch_sizes: preferred(&batching.preferred_batch_size, max_batch_size),
        max_queue_delay_us: batching.max_queue_delay_microseconds,
        preserve_ordering: batching.preserve_ordering,
        priority_levels: batching.priority_levels,
        default_priority_level: batching.default_priority_level,
        default_queue_policy: batching.default_queue_policy.as_ref().map(queue_policy).unwrap_or_default(),
        priority_queue_policies: batching
            .priority_queue_policy
            .iter()
            .map(|(level, policy)| (*level, queue_policy(policy)))
            .collect(),
    }
}

fn queue_policy(policy: &wire::ModelQueuePolicy) -> QueuePolicy {
    QueuePolicy {
        timeout_action: match policy.timeout_action() {
            wire::model_queue_policy::TimeoutAction::Reject => TimeoutAction::Reject,
            wire::model_queue_policy::TimeoutAction::Delay => TimeoutAction::Delay,
        },
        default_timeout_us: policy.default_timeout_microseconds,
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: policy.max_queue_size,
    }
}

fn optimization(policy: &wire::ModelOptimizationPolicy) -> Optimization {
    let accelerators = policy.execution_accelerators.as_ref();
    let convert = |list: &[execution_accelerators::Accelerator]| list.iter().map(accelerator).collect();
    Optimization {
        graph_level: policy.graph.as_ref().map(|graph| graph.level),
        gpu_accelerators: accelerators.map(|a| convert(&a.gpu_execution_accelerator)).unwrap_or_default(),
        cpu_accelerators: accelerators.map(|a| convert(&a.cpu_execution_accelerator)).unwrap_or_default(),
        pinned_input: policy.input_pinned_memory.is_none_or(|pinned| pinned.enable),
        pinned_output: policy.output_pinned_memory.is_none_or(|pinned| pinned.enable),
        priority: match policy.priority() {
            ModelPriority::PriorityDefault => StreamPriority::Default,
            ModelPriority::PriorityMax => StreamPriority::Highest,
            ModelPriority::PriorityMin => StreamPriority::Lowest,
        },
        cuda: policy.cuda.as_ref().map(cuda).unwrap_or_default(),
        gather_kernel_buffer_threshold: policy.gather_kernel_buffer_threshold,
        eager_batching: policy.eager_batching,
    }
}

fn cuda(cuda: &Cuda) -> CudaOptimization {
    let shape = |batch_size: i32, inputs: &BTreeMap<String, graph_spec::Shape>| GraphShape {
        batch_size: u32::try_from(batch_size).unwrap_or(0),
        inputs: inputs.iter().map(|(name, shape)| (name.as_str().into(), shape.dim.clone())).collect(),
    };
    let spec = |spec: &WireGraphSpec| GraphSpec {
        shape: shape(spec.batch_size, &spec.input),
        lower_bound: spec.graph_lower_bound.as_ref().map(|lower| shape(lower.batch_size, &lower.input)),
    };
    CudaOptimization {
        graphs: cuda.graphs,
        busy_wait_events: cuda.busy_wait_events,
        graph_specs: cuda.graph_spec.iter().map(spec).collect(),
        output_copy_stream: cuda.output_copy_stream,
    }
}

fn accelerator(accelerator: &execution_accelerators::Accelerator) -> Accelerator {
    let parameters: BTreeMap<_, _> =
        accelerator.parameters.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Accelerator { name: accelerator.name.clone(), parameters }
}
