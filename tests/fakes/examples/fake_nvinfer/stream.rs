//! Puts work into a stream of a host device, which runs it now or, while a graph is captured, whenever that is launched.

use std::ffi::c_void;

/// The first word of such a stream. Nothing else is known as a stream but null, the default one.
const MAGIC: u64 = 0x6e65_7265_6964_0001;

type Work = unsafe extern "C" fn(*mut c_void);

#[repr(C)]
struct HostStream {
    magic: u64,
    launch: unsafe extern "C" fn(*const HostStream, Work, *mut c_void, Work),
}

/// Runs or records `work`. False: this is no stream.
pub fn launch(stream: *mut c_void, work: Box<dyn Fn() + Send>) -> bool {
    if stream.is_null() {
        work();
        return true;
    }
    let stream = stream.cast::<HostStream>();
    // SAFETY: streams that tests pass are those of a host device.
    let stream = unsafe { &*stream };
    if stream.magic != MAGIC {
        return false;
    }
    let data = Box::into_raw(Box::new(work)).cast();
    // SAFETY: the layout that the magic word stands for; the data is what `run` and `free` take.
    unsafe { (stream.launch)(stream, run, data, free) };
    true
}

unsafe extern "C" fn run(data: *mut c_void) {
    // SAFETY: made by `launch`.
    let work = unsafe { &*data.cast::<Box<dyn Fn() + Send>>() };
    work();
}

unsafe extern "C" fn free(data: *mut c_void) {
    // SAFETY: made by `launch`, and not used any more.
    drop(unsafe { Box::from_raw(data.cast::<Box<dyn Fn() + Send>>()) });
}
