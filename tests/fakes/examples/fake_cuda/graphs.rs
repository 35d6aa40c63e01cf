//! Captures, and the graphs that they become.

use std::ffi::{c_uint, c_ulonglong};
use std::sync::Arc;

use crate::code::{
    CAPTURE_INVALIDATED, CAPTURE_UNSUPPORTED, CAPTURE_WRONG_THREAD, Code, ILLEGAL_STATE, INVALID_HANDLE,
    INVALID_VALUE, SUCCESS, check, put,
};
use crate::state::{in_context, state};
use crate::streams::find;

/// `CU_STREAM_CAPTURE_MODE_RELAXED`; the others are the same here, as no thread captures for another.
const RELAXED: c_uint = 2;

/// # Safety
/// As CUDA says; so for all of these.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuStreamBeginCapture_v2(stream: u64, mode: c_uint) -> Code {
    let found = find(stream);
    in_context(|_, _| {
        let stream = found?.ok_or(CAPTURE_UNSUPPORTED)?;
        check(mode <= RELAXED, INVALID_VALUE)?;
        check(stream.begin(mode != RELAXED), ILLEGAL_STATE)
    })
}

/// # Safety
/// As for [`cuStreamBeginCapture_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuStreamEndCapture(stream: u64, graph: *mut u64) -> Code {
    let found = find(stream);
    let mut dropped = None; // without the lock: what was recorded may call back
    in_context(|state, _| {
        let stream = found?.ok_or(ILLEGAL_STATE)?;
        check(stream.is_capturing(), ILLEGAL_STATE)?;
        let this = std::thread::current().id();
        let capture = stream.end(|capture| capture.thread == this).ok_or(CAPTURE_WRONG_THREAD)?;
        let is_broken = capture.is_broken;
        let nodes = Arc::new(capture.nodes);
        dropped = Some(nodes.clone());
        // SAFETY: as the caller says.
        unsafe { put(graph, 0) }?;
        check(!is_broken, CAPTURE_INVALIDATED)?;
        let address = state.address();
        state.graphs.insert(address, nodes);
        // SAFETY: as the caller says.
        unsafe { put(graph, address) }
    })
}

/// # Safety
/// As for [`cuStreamBeginCapture_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuGraphInstantiateWithFlags(
    executable: *mut u64,
    graph: u64,
    _: c_ulonglong,
) -> Code {
    in_context(|state, _| {
        let nodes = state.graphs.get(&graph).cloned().ok_or(INVALID_VALUE)?;
        let address = state.address();
        state.executables.insert(address, nodes);
        // SAFETY: as the caller says.
        unsafe { put(executable, address) }
    })
}

/// # Safety
/// As for [`cuStreamBeginCapture_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuGraphDestroy(graph: u64) -> Code {
    let mut removed = None;
    in_context(|state, _| {
        removed = state.graphs.remove(&graph);
        check(removed.is_some(), INVALID_VALUE)
    })
}

/// # Safety
/// As for [`cuStreamBeginCapture_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuGraphExecDestroy(executable: u64) -> Code {
    let mut removed = None;
    in_context(|state, _| {
        removed = state.executables.remove(&executable);
        check(removed.is_some(), INVALID_VALUE)
    })
}

/// # Safety
/// As for [`cuStreamBeginCapture_v2`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuGraphLaunch(executable: u64, stream: u64) -> Code {
    let found = match find(stream) {
        Ok(found) => found,
        Err(code) => return code,
    };
    if found.is_some_and(|stream| stream.is_capturing()) {
        return CAPTURE_UNSUPPORTED; // the driver would make a child of it
    }
    let nodes = state().executables.get(&executable).cloned();
    let code = in_context(|_, _| check(nodes.is_some(), INVALID_HANDLE));
    if code != SUCCESS {
        return code;
    }
    nodes
        .iter()
        .flat_map(|nodes| nodes.iter())
        .map(|node| node())
        .find(|code| *code != SUCCESS)
        .unwrap_or(SUCCESS)
}
