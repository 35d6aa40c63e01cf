//! Where a session wants its inputs and gives its outputs: some tensors of a graph on a GPU, such as shapes, are the CPU's.

use std::ffi::CStr;

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
    /// overridable initializers are, is in host memory: ONNX Runtime copies it where it must.
    pub(crate) fn of(runtime: &Runtime, session: &Session, graph: &Graph, plan: &Plan) -> Self {
        let inputs = on_device(runtime, session, &graph.inputs, runtime.api.SessionGetMemoryInfoForInputs);
        let outputs = on_device(runtime, session, &graph.outputs, runtime.api.SessionGetMemoryInfoForOutputs);
        Self::new(plan, |name| inputs.contains(&name), |name| outputs.contains(&name))
    }

    /// The placement where all but strings are in device memory.
    pub(crate) fn everywhere(plan: &Plan) -> Self {
        Self::new(plan, |_| true, |_| true)
    }

    fn new(plan: &Plan, is_input: impl Fn(&CStr) -> bool, is_output: impl Fn(&CStr) -> bool) -> Self {
        let has_size = |datatype| datatype != DataType::Bytes;
        let inputs = plan.inputs.iter().map(|input| has_size(input.datatype) && is_input(&input.name));
        let made = plan.batch_inputs.iter().map(|input| input.targets.iter().all(|name| is_input(name)));
        let outputs = plan.outputs.iter().map(|output| has_size(output.datatype) && is_output(&output.name));
        Self { inputs: inputs.collect(), batch_inputs: made.collect(), outputs: outputs.collect() }
    }
}

/// Those of `tensors` that the session has in the memory of a GPU.
fn on_device<'g>(
    runtime: &Runtime,
    session: &Session,
    tensors: &'g [TensorInfo],
    ask: MemoryInfos,
) -> Vec<&'g CStr> {
    let infos = memory_infos(runtime, session, tensors.len(), ask).unwrap_or_else(|error| {
        tracing::debug!("a session does not say where its tensors are: {error}");
        Vec::new()
    });
    let is_on_device = |info: *const OrtMemoryInfo| {
        // Read as a number: a newer library may know devices that the bindings' enum lacks.
        let mut kind = OrtMemoryInfoDeviceType::OrtMemoryInfoDeviceType_CPU as i32;
        if !info.is_null() {
            // SAFETY: the info is the session's, and the C enum is an `i32`.
            unsafe { (runtime.api.MemoryInfoGetDeviceType)(info, (&raw mut kind).cast()) };
        }
        kind == OrtMemoryInfoDeviceType::OrtMemoryInfoDeviceType_GPU as i32
    };
    let found = tensors.iter().zip(&infos).filter(|(_, info)| is_on_device(**info));
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
