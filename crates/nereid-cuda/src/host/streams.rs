//! Streams of a [`super::HostDevice`]: what is put into one runs at once, or is recorded.

#![allow(
    unsafe_code,
    reason = "streams are known by their address, also to libraries that stand in for others"
)]

use std::ffi::c_void;
use std::fmt;
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

/// The first word of every stream, by which a stand-in knows that it may use the second.
pub const STREAM_MAGIC: u64 = 0x6e65_7265_6964_0001;

/// A function with its data.
pub type Work = unsafe extern "C" fn(data: *mut c_void);

/// A stream. Its address is the `CUstream`, and its layout starts as `STREAM_MAGIC` and a function pointer: a stand-in for a
/// library that puts kernels into streams calls `(stream.launch)(stream, work, data, drop)`, which runs `work(data)`
/// now, or every time that the graph which is being captured is launched, and `drop(data)` at the end.
#[repr(C)]
pub struct HostStream {
    magic: u64,
    /// Runs or records `work(data)`.
    pub launch: unsafe extern "C" fn(stream: *const HostStream, work: Work, data: *mut c_void, drop: Work),
    captured: Mutex<Option<Capture>>,
}

/// What a stream has recorded since its capture began.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) nodes: Vec<Node>,
    thread: ThreadId,
    /// Something was done that a capture forbids.
    pub(super) is_broken: bool,
}

/// One step, to be run any number of times; the answer is the driver's `CUresult`.
pub(super) struct Node(Box<dyn Fn() -> u32 + Send>);

impl HostStream {
    pub(super) fn new() -> Self {
        Self { magic: STREAM_MAGIC, launch, captured: Mutex::new(None) }
    }

    /// Whether a capture begins; not if one runs.
    pub(super) fn begin(&self) -> bool {
        let mut captured = self.captured.lock();
        let begins = captured.is_none();
        let thread = thread::current().id();
        captured.get_or_insert_with(|| Capture { nodes: Vec::new(), thread, is_broken: false });
        begins
    }

    pub(super) fn end(&self) -> Option<Capture> {
        self.captured.lock().take()
    }

    /// Whether a capture runs, which is broken by that.
    pub(super) fn breaks_capture(&self) -> bool {
        self.captured.lock().as_mut().map(|capture| capture.is_broken = true).is_some()
    }

    /// Whether this thread captures, which is broken by what it does.
    pub(super) fn breaks_capture_of_thread(&self) -> bool {
        let this = thread::current().id();
        let mut captured = self.captured.lock();
        let broken = captured.as_mut().filter(|capture| capture.thread == this);
        broken.map(|capture| capture.is_broken = true).is_some()
    }

    pub(super) fn is_capturing(&self) -> bool {
        self.captured.lock().is_some()
    }

    /// Runs `node`, or records it.
    pub(super) fn put(&self, node: Node) -> u32 {
        if let Some(capture) = self.captured.lock().as_mut() {
            capture.nodes.push(node);
            return 0;
        }
        node.run()
    }
}

impl Node {
    pub(super) fn new(step: impl Fn() -> u32 + Send + 'static) -> Self {
        Self(Box::new(step))
    }

    pub(super) fn run(&self) -> u32 {
        (self.0)()
    }
}

impl fmt::Debug for HostStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostStream").field("captured", &self.captured).finish_non_exhaustive()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Node")
    }
}

/// The work of a stand-in.
struct Foreign {
    work: Work,
    data: *mut c_void,
    drop: Work,
}

// SAFETY: a stand-in says so by launching it: streams run on any thread.
unsafe impl Send for Foreign {}

impl Foreign {
    fn run(&self) -> u32 {
        // SAFETY: who launched it gave the function with its data, which is there until it is dropped.
        unsafe { (self.work)(self.data) };
        0
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // SAFETY: as in `run`, once.
        unsafe { (self.drop)(self.data) };
    }
}

unsafe extern "C" fn launch(stream: *const HostStream, work: Work, data: *mut c_void, drop: Work) {
    let foreign = Foreign { work, data, drop };
    // SAFETY: the caller has the address of a stream that is there.
    let stream = unsafe { &*stream };
    stream.put(Node::new(move || foreign.run()));
}
