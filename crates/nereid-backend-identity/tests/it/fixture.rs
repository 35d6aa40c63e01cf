//! Configs of identity models, and requests to them. There are no files.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use nereid_backend_identity::Identity;
use nereid_core::backend::{Backend, Instance, LoadRequest, Model};
use nereid_core::batch::{Batch, split};
use nereid_core::config::{InputConfig, InstanceKind, InstanceSpec, OutputConfig};
use nereid_core::{
    DataType, InferRequest, InferResponse, InputTensor, ModelConfig, Result, Shape, ValidRequest,
};

/// A config of `INPUT<n>` to `OUTPUT<n>`.
pub(crate) fn config(max_batch_size: u32, tensors: &[(DataType, &[i64])]) -> ModelConfig {
    let numbered = || tensors.iter().enumerate();
    let input = |(n, (datatype, dims)): (usize, &(DataType, &[i64]))| InputConfig {
        name: format!("INPUT{n}").into(),
        datatype: *datatype,
        dims: dims.to_vec(),
        reshape: None,
        optional: false,
        allow_ragged_batch: false,
        form: Default::default(),
    };
    let output = |(n, (datatype, dims)): (usize, &(DataType, &[i64]))| OutputConfig {
        name: format!("OUTPUT{n}").into(),
        datatype: *datatype,
        dims: dims.to_vec(),
        reshape: None,
        form: Default::default(),
    };
    ModelConfig {
        name: "m".into(),
        backend: "identity".into(),
        max_batch_size,
        inputs: numbered().map(input).collect(),
        outputs: numbered().map(output).collect(),
        ..Default::default()
    }
}

pub(crate) fn load(config: &ModelConfig) -> Result<Box<dyn Model>> {
    let nowhere = Path::new("/nonexistent");
    let config = &Arc::new(config.clone());
    let (model_dir, version_dir, model_file) = (nowhere, nowhere, nowhere);
    Identity::default().load(&LoadRequest { config, version: 1, model_dir, version_dir, model_file })
}

pub(crate) fn instance(config: &ModelConfig) -> Box<dyn Instance> {
    create(&*load(config).unwrap())
}

pub(crate) fn create(model: &dyn Model) -> Box<dyn Instance> {
    let spec = InstanceSpec { name: "m_0_0".into(), kind: InstanceKind::Cpu, ..Default::default() };
    model.create_instance(&spec).unwrap()
}

/// A request with these shapes and data for the inputs of these names, which wants `outputs`, or all.
pub(crate) fn request(
    config: &ModelConfig,
    inputs: &[(&str, &[i64], Bytes)],
    outputs: &[&str],
) -> ValidRequest {
    let tensor = |(name, shape, data): &(&str, &[i64], Bytes)| InputTensor {
        name: (*name).to_owned(),
        datatype: config.inputs[config.input_index(name).unwrap()].datatype,
        shape: Shape::from_slice(shape),
        data: data.clone(),
    };
    let inputs = inputs.iter().map(tensor).collect();
    let outputs = outputs.iter().map(|name| (*name).to_owned()).collect();
    ValidRequest::new(InferRequest { inputs, outputs, ..Default::default() }, config).unwrap()
}

/// Runs `requests` as one batch.
pub(crate) fn run(
    instance: &mut dyn Instance,
    config: &ModelConfig,
    requests: &[ValidRequest],
) -> Result<Vec<InferResponse>> {
    let requests: Vec<&ValidRequest> = requests.iter().collect();
    let batch = Batch::new(config, &requests);
    split(&batch, instance.execute(&batch)?.outputs)
}

/// Names, shapes and data, to compare.
pub(crate) fn parts(response: &InferResponse) -> Vec<(&str, &[i64], &[u8])> {
    response.outputs.iter().map(|output| (&*output.name, &output.shape[..], &output.data[..])).collect()
}
