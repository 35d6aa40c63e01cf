//! `IOutputAllocator`, in the layouts of TensorRT and of TensorRT-RTX, which left out a method.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use nereid_cuda::RawStream;

use super::callbacks::{Prefix, api_language, guarded, no_destructor, text, version_1};
use super::layout::{Dims, InterfaceInfo};
use crate::output_allocator::OutputAllocator;
use crate::version::Flavor;

type Info = extern "C" fn(*const c_void) -> InterfaceInfo;
type Destructor = extern "C" fn(*mut c_void);
type Reallocate = extern "C" fn(*const Adapter, *const c_char, *mut c_void, u64, u64) -> *mut c_void;
type ReallocateAsync =
    extern "C" fn(*const Adapter, *const c_char, *mut c_void, u64, u64, *mut c_void) -> *mut c_void;
type NotifyShape = extern "C" fn(*const Adapter, *const c_char, *const Dims);

#[repr(C)]
struct Table {
    prefix: Prefix,
    api_language: extern "C" fn(*const c_void) -> i32,
    interface_info: Info,
    complete_destructor: Destructor,
    deleting_destructor: Destructor,
    reallocate: Reallocate,
    reallocate_async: ReallocateAsync,
    notify_shape: NotifyShape,
}

#[repr(C)]
struct TableRtx {
    prefix: Prefix,
    api_language: extern "C" fn(*const c_void) -> i32,
    interface_info: Info,
    complete_destructor: Destructor,
    deleting_destructor: Destructor,
    reallocate_async: ReallocateAsync,
    notify_shape: NotifyShape,
}

// SAFETY: the null pointer in the prefix is never followed; the rest is functions.
unsafe impl Sync for Table {}
// SAFETY: as above.
unsafe impl Sync for TableRtx {}

static TABLE: Table = Table {
    prefix: Prefix::NONE,
    api_language,
    interface_info,
    complete_destructor: no_destructor,
    deleting_destructor: no_destructor,
    reallocate,
    reallocate_async,
    notify_shape,
};

static TABLE_RTX: TableRtx = TableRtx {
    prefix: Prefix::NONE,
    api_language,
    interface_info,
    complete_destructor: no_destructor,
    deleting_destructor: no_destructor,
    reallocate_async,
    notify_shape,
};

/// An [`OutputAllocator`] as TensorRT sees it.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Adapter {
    vtable: *const c_void,
    allocator: Arc<dyn OutputAllocator>,
}

// SAFETY: the vtable is a constant, and the allocator is `Send` and `Sync`.
unsafe impl Send for Adapter {}

impl Adapter {
    /// On the heap: TensorRT keeps the address.
    pub(crate) fn new(flavor: Flavor, allocator: Arc<dyn OutputAllocator>) -> Box<Self> {
        let vtable = match flavor {
            Flavor::Full | Flavor::Lean => std::ptr::from_ref(&TABLE.api_language).cast(),
            Flavor::Rtx => std::ptr::from_ref(&TABLE_RTX.api_language).cast(),
        };
        Box::new(Self { vtable, allocator })
    }
}

extern "C" fn reallocate(
    this: *const Adapter,
    tensor: *const c_char,
    current: *mut c_void,
    bytes: u64,
    alignment: u64,
) -> *mut c_void {
    reallocate_async(this, tensor, current, bytes, alignment, std::ptr::null_mut())
}

extern "C" fn reallocate_async(
    this: *const Adapter,
    tensor: *const c_char,
    current: *mut c_void,
    bytes: u64,
    alignment: u64,
    stream: *mut c_void,
) -> *mut c_void {
    let address = guarded(None, || {
        // SAFETY: TensorRT passes the address that it was given, which the context keeps until it is replaced or gone.
        let adapter = unsafe { &*this };
        // SAFETY: TensorRT passes a C string, or null.
        let tensor = unsafe { text(tensor) };
        let stream = RawStream(stream as u64);
        adapter.allocator.reallocate(&tensor, current as u64, bytes, alignment, stream)
    });
    std::ptr::without_provenance_mut(usize::try_from(address.unwrap_or(0)).unwrap_or(0))
}

extern "C" fn notify_shape(this: *const Adapter, tensor: *const c_char, dims: *const Dims) {
    guarded((), || {
        // SAFETY: as in `reallocate_async`.
        let adapter = unsafe { &*this };
        // SAFETY: TensorRT passes a C string, or null.
        let tensor = unsafe { text(tensor) };
        // SAFETY: a C++ reference: not null, and there during the call.
        let dims = unsafe { &*dims };
        if let Some(shape) = dims.shape() {
            adapter.allocator.notify_shape(&tensor, shape);
        }
    });
}

extern "C" fn interface_info(_this: *const c_void) -> InterfaceInfo {
    version_1(c"IOutputAllocator")
}

/// Position and signature of every entry, for the test against the golden table.
#[cfg(test)]
pub(crate) fn golden(flavor: Flavor) -> Vec<(&'static str, usize)> {
    use std::mem::offset_of;
    const START: usize = offset_of!(Table, api_language);
    const RTX_START: usize = offset_of!(TableRtx, api_language);
    let (entries, start) = match flavor {
        Flavor::Full | Flavor::Lean => (
            vec![
                ("IOutputAllocator::getInterfaceInfo() const", offset_of!(Table, interface_info)),
                ("IOutputAllocator::~IOutputAllocator() [complete]", offset_of!(Table, complete_destructor)),
                ("IOutputAllocator::~IOutputAllocator() [deleting]", offset_of!(Table, deleting_destructor)),
                ("IOutputAllocator::reallocateOutput(", offset_of!(Table, reallocate)),
                ("IOutputAllocator::reallocateOutputAsync(", offset_of!(Table, reallocate_async)),
                ("IOutputAllocator::notifyShape(", offset_of!(Table, notify_shape)),
            ],
            START,
        ),
        Flavor::Rtx => (
            vec![
                ("IOutputAllocator::getInterfaceInfo() const", offset_of!(TableRtx, interface_info)),
                (
                    "IOutputAllocator::~IOutputAllocator() [complete]",
                    offset_of!(TableRtx, complete_destructor),
                ),
                (
                    "IOutputAllocator::~IOutputAllocator() [deleting]",
                    offset_of!(TableRtx, deleting_destructor),
                ),
                ("IOutputAllocator::reallocateOutputAsync(", offset_of!(TableRtx, reallocate_async)),
                ("IOutputAllocator::notifyShape(", offset_of!(TableRtx, notify_shape)),
            ],
            RTX_START,
        ),
    };
    entries.into_iter().map(|(signature, offset)| (signature, offset - start)).collect()
}
