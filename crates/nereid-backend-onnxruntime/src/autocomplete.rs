//! What a graph says about batching and about its inputs and outputs, for a config that leaves them out.
//! Rules and texts are those of `AutoCompleteConfig` in Triton's backend; tensors come in the graph's order.

use nereid_core::backend::{AutoComplete, AutoCompleteRequest, TensorSpec};
use nereid_core::config::TensorForm;
use nereid_core::{Error, Result};

use crate::graph::{Graph, TensorInfo};

/// Completes the config of `request` from `graph`.
///
/// # Errors
/// `InvalidArg` if the config wants batches and the graph cannot do them, or if a tensor's type has no
/// name in a config.
pub(crate) fn complete(request: &AutoCompleteRequest<'_>, graph: &Graph) -> Result<AutoComplete> {
    let can_batch =
        graph.inputs.iter().chain(&graph.outputs).all(|tensor| tensor.dims().first() == Some(&-1));
    if !can_batch && request.max_batch_size != 0 {
        return Err(Error::invalid_arg(format!(
            "autofill failed for model '{}': model does not support batching while non-zero max_batch_size is \
             specified",
            request.model
        )));
    }
    let mut max_batch_size = request.max_batch_size;
    if can_batch && max_batch_size == 0 {
        max_batch_size = request.default_max_batch_size;
    }
    let specs = |what, tensors: &[TensorInfo]| {
        let spec = |tensor| spec(what, request.model, tensor, max_batch_size > 0);
        tensors.iter().map(spec).collect::<Result<Vec<_>>>()
    };
    Ok(AutoComplete {
        max_batch_size: (max_batch_size != request.max_batch_size).then_some(max_batch_size),
        inputs: (!request.has_inputs()).then(|| specs("input", &graph.inputs)).transpose()?,
        outputs: (!request.has_outputs()).then(|| specs("output", &graph.outputs)).transpose()?,
        dynamic_batching: max_batch_size > 1 && !request.has_scheduler,
    })
}

fn spec(what: &str, model: &str, tensor: &TensorInfo, batches: bool) -> Result<TensorSpec> {
    let name = tensor.name();
    let datatype = tensor.datatype.ok_or_else(|| {
        // What Triton's core says about the TYPE_INVALID that its backend writes.
        Error::invalid_arg(format!("model {what} '{name}' must specify 'data_type' for {model}"))
    })?;
    let mut dims = tensor.dims()[usize::from(batches)..].to_vec();
    let mut reshape = None;
    if dims.is_empty() {
        dims.push(1);
        // A scalar of a model that does not batch gets no reshape: configs may not say so there, and the
        // value is bound with the graph's rank anyway.
        reshape = batches.then(Vec::new);
    }
    Ok(TensorSpec { name, datatype, dims, reshape, form: TensorForm::Linear })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use nereid_core::DataType;

    use super::*;

    fn tensor(name: &str, shape: &[i64]) -> TensorInfo {
        let name = std::ffi::CString::new(name).unwrap();
        TensorInfo { name, datatype: Some(DataType::Fp32), shape: Some(shape.to_vec()) }
    }

    fn request(max_batch_size: u32) -> AutoCompleteRequest<'static> {
        AutoCompleteRequest {
            model: "m",
            model_dir: Path::new(""),
            model_file: Path::new("model.onnx"),
            op_libraries: &[],
            version_dir: Path::new(""),
            cc_model_filenames: Default::default(),
            max_batch_size,
            default_max_batch_size: 4,
            inputs: vec![],
            batch_inputs: 0,
            outputs: vec![],
            has_scheduler: false,
            groups: vec![],
        }
    }

    fn graph(input: &[i64], output: &[i64]) -> Graph {
        Graph { inputs: vec![tensor("x", input)], initializers: vec![], outputs: vec![tensor("y", output)] }
    }

    fn expected(name: &str, dims: &[i64], reshape: Option<Vec<i64>>) -> Option<Vec<TensorSpec>> {
        let (name, datatype, dims) = (name.into(), DataType::Fp32, dims.into());
        Some(vec![TensorSpec { name, datatype, dims, reshape, form: TensorForm::Linear }])
    }

    #[test]
    fn a_model_that_batches() {
        let got = complete(&request(0), &graph(&[-1, 28], &[-1])).unwrap();
        assert_eq!((got.max_batch_size, got.dynamic_batching), (Some(4), true));
        assert_eq!(got.inputs, expected("x", &[28], None));
        assert_eq!(got.outputs, expected("y", &[1], Some(vec![])));
        let given = AutoCompleteRequest { batch_inputs: 1, has_scheduler: true, ..request(8) };
        let got = complete(&given, &graph(&[-1, 28], &[-1, 10])).unwrap();
        assert_eq!((got.max_batch_size, got.inputs, got.dynamic_batching), (None, None, false));
        let one = AutoCompleteRequest { default_max_batch_size: 1, ..request(0) };
        let got = complete(&one, &graph(&[-1], &[-1])).unwrap();
        assert_eq!((got.max_batch_size, got.dynamic_batching), (Some(1), false));
        let none = AutoCompleteRequest { default_max_batch_size: 0, ..request(0) };
        let got = complete(&none, &graph(&[-1, 2], &[-1])).unwrap();
        assert_eq!((got.max_batch_size, got.inputs), (None, expected("x", &[-1, 2], None)));
    }

    #[test]
    fn a_model_that_does_not() {
        let got = complete(&request(0), &graph(&[-1, 28], &[1, 10])).unwrap();
        assert_eq!((got.max_batch_size, got.dynamic_batching), (None, false));
        assert_eq!(got.inputs, expected("x", &[-1, 28], None));
        assert_eq!(got.outputs, expected("y", &[1, 10], None));
        assert_eq!(complete(&request(0), &graph(&[], &[])).unwrap().inputs, expected("x", &[1], None));
        let error = complete(&request(8), &graph(&[-1, 28], &[1, 10])).unwrap_err();
        assert_eq!(
            error.with_code(),
            "Invalid argument: autofill failed for model 'm': model does not support batching while non-zero \
             max_batch_size is specified"
        );
    }

    #[test]
    fn a_type_without_a_name() {
        let mut graph = graph(&[2], &[2]);
        graph.outputs[0].datatype = None;
        let error = complete(&request(0), &graph).unwrap_err();
        assert_eq!(error.message(), "model output 'y' must specify 'data_type' for m");
    }
}
