//! Streams and events. What is put into a stream runs at once, or is recorded while it is captured.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crate::code::{CAPTURE_UNSUPPORTED, Code, INVALID_HANDLE, INVALID_VALUE, SUCCESS, check, put};
use crate::state::{in_context, state};

/// As in `nereid_cuda::host`, so that stand-ins that put work into streams can do so here too.
const STREAM_MAGIC: u64 = 0x6e65_7265_6964_0001;

/// A function with its data.
type Work = unsafe extern "C" fn(data: *mut c_void);

/// One step, to be run any number of times.
pub(crate) type Node = Box<dyn Fn() -> Code + Send + Sync>;

/// A stream, at the address that a `CUstream` is.
#[repr(C)]
pub(crate) struct Stream {
    magic: u64,
    launch: unsafe extern "C" fn(stream: *const Stream, work: Work, data: *mut c_void, drop: Work),
    captured: Mutex<Option<Capture>>,
}

pub(crate) struct Capture {
    pub(crate) nodes: Vec<Node>,
    pub(crate) thread: ThreadId,
    /// Forbidden calls are those of its thread only.
    is_thread_local: bool,
    pub(crate) is_broken: bool,
}

impl Stream {
    fn captured(&self) -> MutexGuard<'_, Option<Capture>> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a capture begins; not if one runs.
    pub(crate) fn begin(&self, is_thread_local: bool) -> bool {
        let mut captured = self.captured();
        let begins = captured.is_none();
        captured.get_or_insert_with(|| Capture {
            nodes: Vec::new(),
            thread: thread::current().id(),
            is_thread_local,
            is_broken: false,
        });
        begins
    }

    /// The capture, if `may_end`.
    pub(crate) fn end(&self, may_end: impl FnOnce(&Capture) -> bool) -> Option<Capture> {
        self.captured().take_if(|capture| may_end(capture))
    }

    pub(crate) fn is_capturing(&self) -> bool {
        self.captured().is_some()
    }

    pub(crate) fn break_capture(&self) -> bool {
        self.captured().as_mut().map(|capture| capture.is_broken = true).is_some()
    }

    /// Whether `thread` captures with forbidden calls; the capture is broken by that.
    pub(crate) fn break_capture_of(&self, thread: ThreadId) -> bool {
        let mut captured = self.captured();
        let broken = captured.as_mut().filter(|capture| capture.is_thread_local && capture.thread == thread);
        broken.map(|capture| capture.is_broken = true).is_some()
    }

    fn put(&self, node: Node) -> Code {
        if let Some(capture) = self.captured().as_mut() {
            capture.nodes.push(node);
            return SUCCESS;
        }
        node()
    }
}

/// The stream at an address; `None` is the default stream.
pub(crate) fn find(stream: u64) -> Result<Option<Arc<Stream>>, Code> {
    if stream == 0 {
        return Ok(None);
    }
    state().streams.get(&stream).cloned().map(Some).ok_or(INVALID_HANDLE)
}

/// Runs or records `node`.
pub(crate) fn put_into(stream: u64, node: Node) -> Code {
    match find(stream) {
        Ok(Some(stream)) => stream.put(node),
        Ok(None) => node(),
        Err(code) => code,
    }
}

struct Foreign {
    work: Work,
    data: *mut c_void,
    drop: Work,
}

// SAFETY: a stand-in says so by launching it: streams run on any thread.
unsafe impl Send for Foreign {}

// SAFETY: as above.
unsafe impl Sync for Foreign {}

impl Foreign {
    fn run(&self) -> Code {
        // SAFETY: who launched it gave the function with its data.
        unsafe { (self.work)(self.data) };
        SUCCESS
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // SAFETY: as in `run`, once.
        unsafe { (self.drop)(self.data) };
    }
}

unsafe extern "C" fn launch(stream: *const Stream, work: Work, data: *mut c_void, drop: Work) {
    let foreign = Foreign { work, data, drop };
    // SAFETY: the caller has the address of a stream that is there.
    let stream = unsafe { &*stream };
    stream.put(Box::new(move || foreign.run()));
}

/// # Safety
/// As CUDA says; so for all of these.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuStreamCreateWithPriority(
    stream: *mut u64,
    flags: c_uint,
    _: c_int,
) -> Code {
    in_context(|state, _| {
        check(flags <= 1, INVALID_VALUE)?;
        let new = Arc::new(Stream { magic: STREAM_MAGIC, launch, captured: Mutex::new(None) });
        debug_assert_eq!(new.magic, STREAM_MAGIC);
        let address = Arc::as_ptr(&new) as u64;
        // SAFETY: as the caller says.
        unsafe { put(stream, address) }?;
        state.streams.insert(address, new);
        Ok(())
    })
}

/// # Safety
/// As for [`cuStreamCreateWithPriority`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuStreamDestroy_v2(stream: u64) -> Code {
    let mut removed = None; // dropped without the lock: what it recorded may call back
    in_context(|state, _| {
        removed = state.streams.remove(&stream);
        check(removed.is_some(), INVALID_HANDLE)
    })
}

/// # Safety
/// As for [`cuStreamCreateWithPriority`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuStreamSynchronize(stream: u64) -> Code {
    let found = match find(stream) {
        Ok(found) => found,
        Err(code) => return code,
    };
    in_context(|state, _| match found {
        Some(stream) => check(!stream.break_capture(), CAPTURE_UNSUPPORTED),
        None => state.not_capturing(),
    })
}

/// # Safety
/// As for [`cuStreamCreateWithPriority`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuStreamWaitEvent(stream: u64, event: u64, flags: c_uint) -> Code {
    in_context(|state, _| {
        check(flags == 0, INVALID_VALUE)?;
        let is_there = stream == 0 || state.streams.contains_key(&stream);
        check(is_there && state.events.contains(&event), INVALID_HANDLE)
    })
}

/// # Safety
/// As for [`cuStreamCreateWithPriority`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuEventCreate(event: *mut u64, flags: c_uint) -> Code {
    in_context(|state, _| {
        check(flags & !7 == 0, INVALID_VALUE)?;
        let address = state.address();
        state.events.insert(address);
        // SAFETY: as the caller says.
        unsafe { put(event, address) }
    })
}

/// # Safety
/// As for [`cuStreamCreateWithPriority`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuEventDestroy_v2(event: u64) -> Code {
    in_context(|state, _| check(state.events.remove(&event), INVALID_HANDLE))
}

/// # Safety
/// As for [`cuStreamCreateWithPriority`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuEventRecord(event: u64, stream: u64) -> Code {
    in_context(|state, _| {
        let is_there = stream == 0 || state.streams.contains_key(&stream);
        check(is_there && state.events.contains(&event), INVALID_HANDLE)
    })
}

/// # Safety
/// As for [`cuStreamCreateWithPriority`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuEventSynchronize(event: u64) -> Code {
    in_context(|state, _| {
        state.not_capturing()?;
        check(state.events.contains(&event), INVALID_HANDLE)
    })
}
