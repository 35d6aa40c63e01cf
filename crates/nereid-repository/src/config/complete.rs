//! Puts what a backend read from the model into the config (`TritonModel::UpdateModelConfig`).

use std::path::Path;

use nereid_core::DataType;
use nereid_core::backend::{AutoComplete, AutoCompleteRequest, DeclaredGroup, DeclaredTensor, TensorSpec};
use nereid_core::config::TensorForm;
use nereid_protocol::inference::model_config::SchedulingChoice;
use nereid_protocol::inference::model_instance_group::Kind;
use nereid_protocol::inference::{
    ModelConfig, ModelDynamicBatching, ModelInput, ModelInstanceGroup, ModelOutput, ModelTensorReshape,
};

/// The question to the backend about `config`, whose instance groups are normalised.
pub(crate) fn request<'a>(
    config: &'a ModelConfig,
    model_dir: &'a Path,
    version_dir: &'a Path,
    model_file: &'a Path,
    default_max_batch_size: u32,
) -> AutoCompleteRequest<'a> {
    let pair = |(capability, file): (&'a String, &'a String)| (capability.as_str(), file.as_str());
    AutoCompleteRequest {
        model: &config.name,
        model_dir,
        version_dir,
        model_file,
        op_libraries: config.model_operations.as_ref().map_or(&[], |o| &o.op_library_filename),
        cc_model_filenames: config.cc_model_filenames.iter().map(pair).collect(),
        max_batch_size: u32::try_from(config.max_batch_size).unwrap_or(0),
        default_max_batch_size,
        inputs: config.input.iter().map(declared_input).collect(),
        batch_inputs: config.batch_input.len(),
        outputs: config.output.iter().map(declared_output).collect(),
        has_scheduler: config.scheduling_choice.is_some(),
        groups: config.instance_group.iter().map(declared_group).collect(),
    }
}

/// Applies the backend's answer. What the config says itself stays.
pub(crate) fn apply(config: &mut ModelConfig, answer: AutoComplete) {
    if let Some(size) = answer.max_batch_size {
        config.max_batch_size = i32::try_from(size).unwrap_or(i32::MAX);
    }
    if let Some(specs) = answer.inputs {
        fill(&mut config.input, specs);
    }
    if let Some(specs) = answer.outputs {
        fill(&mut config.output, specs);
    }
    if answer.dynamic_batching && config.scheduling_choice.is_none() {
        config.scheduling_choice = Some(SchedulingChoice::DynamicBatching(ModelDynamicBatching::default()));
    }
}

/// Tensors that were listed keep their order; if there are none, `specs` are the list.
fn fill<T: Declaration>(declared: &mut Vec<T>, specs: Vec<TensorSpec>) {
    if declared.is_empty() {
        declared.extend(specs.iter().map(|spec| T::named(&spec.name)));
    }
    for tensor in declared {
        let fields = tensor.fields();
        if let Some(spec) = specs.iter().find(|spec| spec.name == *fields.name) {
            fields.complete(spec);
        }
    }
}

fn declared_input(input: &ModelInput) -> DeclaredTensor<'_> {
    DeclaredTensor {
        name: &input.name,
        datatype: DataType::from_number(input.data_type),
        dims: &input.dims,
        reshape: input.reshape.as_ref().map(|reshape| &*reshape.shape),
        allow_ragged_batch: input.allow_ragged_batch,
        is_shape_tensor: input.is_shape_tensor,
        is_non_linear: input.is_non_linear_format_io,
    }
}

fn declared_output(output: &ModelOutput) -> DeclaredTensor<'_> {
    DeclaredTensor {
        name: &output.name,
        datatype: DataType::from_number(output.data_type),
        dims: &output.dims,
        reshape: output.reshape.as_ref().map(|reshape| &*reshape.shape),
        allow_ragged_batch: false,
        is_shape_tensor: output.is_shape_tensor,
        is_non_linear: output.is_non_linear_format_io,
    }
}

fn declared_group(group: &ModelInstanceGroup) -> DeclaredGroup<'_> {
    DeclaredGroup {
        gpu: if group.kind() == Kind::Gpu { group.gpus.first().copied() } else { None },
        profiles: group.profile.iter().map(String::as_str).collect(),
    }
}

/// Inputs and outputs are messages of their own with the same fields.
trait Declaration {
    fn named(name: &str) -> Self;
    fn fields(&mut self) -> Fields<'_>;
}

struct Fields<'a> {
    name: &'a String,
    data_type: &'a mut i32,
    dims: &'a mut Vec<i64>,
    reshape: &'a mut Option<ModelTensorReshape>,
    is_shape_tensor: &'a mut bool,
    is_non_linear: &'a mut bool,
}

impl Fields<'_> {
    fn complete(self, spec: &TensorSpec) {
        if DataType::from_number(*self.data_type).is_none() {
            *self.data_type = spec.datatype as i32;
        }
        if self.dims.is_empty() {
            self.dims.clone_from(&spec.dims);
            let reshape = spec.reshape.clone().map(|shape| ModelTensorReshape { shape });
            *self.reshape = reshape.or(self.reshape.take());
        }
        *self.is_shape_tensor |= spec.form == TensorForm::Shape;
        *self.is_non_linear |= spec.form == TensorForm::NonLinear;
    }
}

impl Declaration for ModelInput {
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Default::default() }
    }

    fn fields(&mut self) -> Fields<'_> {
        Fields {
            name: &self.name,
            data_type: &mut self.data_type,
            dims: &mut self.dims,
            reshape: &mut self.reshape,
            is_shape_tensor: &mut self.is_shape_tensor,
            is_non_linear: &mut self.is_non_linear_format_io,
        }
    }
}

impl Declaration for ModelOutput {
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Default::default() }
    }

    fn fields(&mut self) -> Fields<'_> {
        Fields {
            name: &self.name,
            data_type: &mut self.data_type,
            dims: &mut self.dims,
            reshape: &mut self.reshape,
            is_shape_tensor: &mut self.is_shape_tensor,
            is_non_linear: &mut self.is_non_linear_format_io,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, dims: &[i64], reshape: Option<Vec<i64>>, form: TensorForm) -> TensorSpec {
        TensorSpec { name: name.into(), datatype: DataType::Int32, dims: dims.to_vec(), reshape, form }
    }

    fn input(name: &str, datatype: Option<DataType>, dims: &[i64]) -> ModelInput {
        let data_type = datatype.map_or(0, |datatype| datatype as i32);
        ModelInput { name: name.into(), data_type, dims: dims.to_vec(), ..Default::default() }
    }

    #[track_caller]
    fn check(config: Vec<ModelInput>, specs: Vec<TensorSpec>, expected: Vec<ModelInput>) {
        let mut config = ModelConfig { input: config, ..Default::default() };
        apply(&mut config, AutoComplete { inputs: Some(specs), ..Default::default() });
        assert_eq!(config.input, expected);
    }

    #[test]
    fn tensors_are_completed_by_name() {
        let specs = || {
            vec![
                spec("x", &[1], Some(vec![]), TensorForm::Linear),
                spec("s", &[2], None, TensorForm::Shape),
                spec("n", &[3, 4, 5], None, TensorForm::NonLinear),
            ]
        };
        let scalar = ModelInput {
            reshape: Some(ModelTensorReshape { shape: vec![] }),
            ..input("x", Some(DataType::Int32), &[1])
        };
        let shape = ModelInput { is_shape_tensor: true, ..input("s", Some(DataType::Int32), &[2]) };
        let non_linear =
            ModelInput { is_non_linear_format_io: true, ..input("n", Some(DataType::Int32), &[3, 4, 5]) };
        check(vec![], specs(), vec![scalar.clone(), shape.clone(), non_linear.clone()]);
        check(
            vec![input("n", None, &[]), input("other", None, &[]), input("x", None, &[])],
            specs(),
            vec![non_linear, input("other", None, &[]), scalar],
        );
        // What the config says stays, also where it is wrong.
        check(
            vec![input("s", Some(DataType::Fp32), &[7]), input("x", Some(DataType::Fp32), &[8])],
            specs(),
            vec![
                ModelInput { is_shape_tensor: true, ..input("s", Some(DataType::Fp32), &[7]) },
                input("x", Some(DataType::Fp32), &[8]),
            ],
        );
    }

    #[test]
    fn what_a_config_declares() {
        let group = |kind: Kind, gpus: &[i32]| ModelInstanceGroup {
            kind: kind as i32,
            gpus: gpus.to_vec(),
            profile: vec!["1".into()],
            ..Default::default()
        };
        let config = ModelConfig {
            input: vec![input("x", None, &[2])],
            instance_group: vec![group(Kind::Cpu, &[]), group(Kind::Gpu, &[3, 1])],
            cc_model_filenames: [("9.0".to_owned(), "sm90.plan".to_owned())].into(),
            ..Default::default()
        };
        let request = request(&config, Path::new("m"), Path::new("m/1"), Path::new("m/1/model.plan"), 4);
        let declared = DeclaredTensor { name: "x", dims: &[2], ..Default::default() };
        assert_eq!(request.inputs, [declared]);
        assert!(request.has_inputs() && !request.has_outputs() && request.on_gpu());
        let gpus: Vec<_> = request.groups.iter().map(|group| (group.gpu, &*group.profiles)).collect();
        assert_eq!(gpus, [(None, &["1"][..]), (Some(3), &["1"])]);
        assert_eq!(request.cc_model_filenames.get("9.0"), Some(&"sm90.plan"));
    }
}
