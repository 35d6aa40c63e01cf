//! Where a session wants its inputs and gives its outputs: some tensors of a graph on a GPU, such as shapes, are the CPU's.

use std::ffi::{CStr, CString};

use nereid_core::{DataType, Result};
use ort::sys::{OrtMemoryInfo, OrtMemoryInfoDeviceType, OrtSession, OrtStatusPtr};

use crate::error::check;
use crate::graph::{Graph, TensorInfo};
use crate::plan::Plan;
use crate::raw::Session;
use crate::runtime::Runtime;

/// Whether tensors are in the memory of the GPU; those of strings never are.
#[derive(Debug)]
pub(crate) struct Placement {
    /// By position in the plan's inputs.
    pub(crate) inputs: Vec<bool>,
    /// By position in the plan's batch inputs: all targets.
    pub(crate) batch_inputs: Vec<bool>,
    /// By position in the plan's outputs.
    pub(crate) outputs: Vec<bool>,
}

type MemoryInfos =
    unsafe extern "system" fn(*const OrtSession, *mut *const OrtMemoryInfo, usize) -> OrtStatusPtr;

impl Placement {
    /// The placement of tensors of `plan`, which is for `session` of `graph`. What the session does not tell, such as where
    /// overridable initializers are, counts as on the GPU: ONNX Runtime copies it.
    pub(crate) fn of(runtime: &Runtime, session: &Session, graph: &Graph, plan: &Plan) -> Self {
        let inputs = on_host(runtime, session, &graph.inputs, runtime.api.SessionGetMemoryInfoForInputs);
        let outputs = on_host(runtime, session, &graph.outputs, runtime.api.SessionGetMemoryInfoForOutputs);
        Self::without(plan, &inputs, &outputs)
    }

    /// The placement where all but strings are in device memory.
    pub(crate) fn everywhere(plan: &Plan) -> Self {
        Self::without(plan, &[], &[])
    }

    fn without(plan: &Plan, inputs: &[&CStr], outputs: &[&CStr]) -> Self {
        let is_input =
            |name: &CString, datatype| datatype != DataType::Bytes && !inputs.contains(&name.as_c_str());
        let is_output =
            |name: &CString, datatype| datatype != DataType::Bytes && !outputs.contains(&name.as_c_str());
        Self {
            inputs: plan.inputs.iter().map(|input| is_input(&input.name, input.datatype)).collect(),
            batch_inputs: plan
                .batch_inputs
                .iter()
                .map(|input| input.targets.iter().all(|name| is_input(name, DataType::Fp32)))
                .collect(),
            outputs: plan.outputs.iter().map(|output| is_output(&output.name, output.datatype)).collect(),
        }
    }
}

/// Those of `tensors` that the session has in host memory.
fn on_host<'g>(
    runtime: &Runtime,
    session: &Session,
    tensors: &'g [TensorInfo],
    ask: MemoryInfos,
) -> Vec<&'g CStr> {
    let infos = memory_infos(runtime, session, tensors.len(), ask).unwrap_or_else(|error| {
        tracing::debug!("a session does not say where its tensors are: {error}");
        Vec::new()
    });
    let is_on_host = |info: &*const OrtMemoryInfo| {
        let mut kind = OrtMemoryInfoDeviceType::OrtMemoryInfoDeviceType_GPU;
        if !info.is_null() {
            // SAFETY: the info is the session's, and `kind` is a place for the answer, whose values are old.
            unsafe { (runtime.api.MemoryInfoGetDeviceType)(*info, &mut kind) };
        }
        kind == OrtMemoryInfoDeviceType::OrtMemoryInfoDeviceType_CPU
    };
    let found = tensors.iter().zip(&infos).filter(|(_, info)| is_on_host(info));
    found.map(|(tensor, _)| tensor.name.as_c_str()).collect()
}

fn memory_infos(
    runtime: &Runtime,
    session: &Session,
    count: usize,
    ask: MemoryInfos,
) -> Result<Vec<*const OrtMemoryInfo>> {
    let mut infos = vec![std::ptr::null(); count];
    if count > 0 {
        // SAFETY: the session lives, and there is room for as many infos as it has tensors.
        check(runtime.api, unsafe { ask(session.as_ptr(), infos.as_mut_ptr(), count) })?;
    }
    Ok(infos)
}
