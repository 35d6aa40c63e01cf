//! The answer of an ensemble, from the tensors that have arrived.

use nereid_core::{
    CorrelationId, Error, InferResponse, OutputTensor, Parameter, Parameters, Result, Sequence, ValidRequest,
};

use super::flow::{Flow, Slot};
use super::shapes::handed_on;
use super::shared::Shared;

/// The answer to `request`, of which nothing runs any more.
///
/// # Errors
/// `InvalidArg` with Triton's text: an output is still to come.
pub(super) fn assemble(ensemble: &Shared, request: &ValidRequest, flow: &mut Flow) -> Result<InferResponse> {
    let Shared { config, graph, .. } = ensemble;
    let mut response =
        InferResponse { outputs: Vec::with_capacity(config.outputs.len()), ..InferResponse::default() };
    for (index, output) in config.outputs.iter().enumerate().filter(|(index, _)| request.wants(*index)) {
        match flow.output(graph, index) {
            Slot::ToCome => {
                return Err(Error::invalid_arg(format!(
                    "{}unexpected deadlock, at least one output is not set while no more ensemble steps can be made",
                    request.log_prefix()
                )));
            }
            Slot::Absent => {
                tracing::debug!(
                    model = config.name,
                    "Composing models did not output tensor {}",
                    output.name
                );
            }
            Slot::Here(value) => {
                let dims = output.reshape.as_ref().unwrap_or(&output.dims);
                response.outputs.push(OutputTensor {
                    name: output.name.clone(),
                    datatype: value.datatype,
                    shape: handed_on(dims, request.batch_size() != 0, value.rows, &value.shape),
                    data: value.data,
                });
                if response.parameters.is_empty() && graph.is_made(index) {
                    response.parameters = parameters(request.sequence());
                }
            }
        }
    }
    Ok(response)
}

/// Triton's ensembles say which sequence a response belongs to, whether or not there is one.
fn parameters(sequence: &Sequence) -> Parameters {
    let id = match &sequence.id {
        CorrelationId::Number(id) => Parameter::Int(*id as i64),
        CorrelationId::Text(id) => Parameter::Text(id.clone()),
    };
    vec![
        ("sequence_id".to_owned(), id),
        ("sequence_start".to_owned(), Parameter::Bool(sequence.start)),
        ("sequence_end".to_owned(), Parameter::Bool(sequence.end)),
    ]
}
