//! [`InferResponse`] → gRPC. Outputs always travel as raw contents, one per output. Mirror image of
//! `decode.rs`.

use nereid_core::{InferResponse, Parameter, Result};
use nereid_protocol::inference::infer_parameter::ParameterChoice;
use nereid_protocol::inference::model_infer_response::InferOutputTensor;
use nereid_protocol::inference::{InferParameter, ModelInferResponse};
use nereid_repository::ModelVersion;

use super::decode::Outputs;
use crate::classification::classify;

/// Encodes the answer of `model`. The request's id is left to the caller.
///
/// # Errors
/// Classes are wanted of an output that has none.
pub(super) fn encode(
    response: InferResponse,
    model: &ModelVersion,
    wanted: &Outputs,
) -> Result<ModelInferResponse> {
    let mut message = ModelInferResponse {
        model_name: model.id.name.to_string(),
        model_version: model.version.to_string(),
        parameters: response.parameters.into_iter().map(|(name, value)| (name, parameter(value))).collect(),
        outputs: Vec::with_capacity(response.outputs.len()),
        raw_output_contents: Vec::with_capacity(response.outputs.len()),
        ..Default::default()
    };
    for output in response.outputs {
        let output = match wanted.classes(&output.name) {
            Some(count) => classify(&output, count, &model.config, &model.labels)?,
            None => output,
        };
        message.outputs.push(InferOutputTensor {
            name: output.name.to_string(),
            datatype: output.datatype.protocol_name().to_owned(),
            shape: output.shape.into_vec(),
            ..Default::default()
        });
        message.raw_output_contents.push(output.data);
    }
    Ok(message)
}

/// A parameter on the wire.
pub(super) fn parameter(value: Parameter) -> InferParameter {
    InferParameter {
        parameter_choice: Some(match value {
            Parameter::Bool(value) => ParameterChoice::BoolParam(value),
            Parameter::Int(value) => ParameterChoice::Int64Param(value),
            Parameter::Double(value) => ParameterChoice::DoubleParam(value),
            Parameter::Text(value) => ParameterChoice::StringParam(value),
        }),
    }
}
