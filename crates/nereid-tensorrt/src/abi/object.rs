//! An object of TensorRT that is ours to delete.

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;

use super::slot::{Slot, This};

/// What TensorRT's functions hand out: an object whose work is done by a second one, to which all calls go.
#[repr(C)]
pub(crate) struct Object {
    /// Points at the complete destructor; the next entry destroys and frees.
    vtable: *const unsafe extern "C" fn(*mut Object),
    implementation: This,
}

/// Below this no object can be: Linux keeps the first pages of every address space free.
const LOWEST_ADDRESS: usize = 0x10000;

/// Position of the deleting destructor in the vtable of the outer object.
const DELETING_DESTRUCTOR: usize = 1;

/// The one owner of an object of TensorRT. Its parent has to live longer; whoever holds this holds that too.
pub(crate) struct Owned {
    object: NonNull<Object>,
}

// SAFETY: TensorRT's objects are not bound to a thread; what may not be called by two threads at once is guarded by those
// who hold this.
unsafe impl Send for Owned {}
// SAFETY: as above: shared use is what TensorRT allows for runtimes and engines, and contexts are not shared.
unsafe impl Sync for Owned {}

impl Owned {
    /// `pointer`, unless it is null or cannot be an object: without a driver, lean runtimes of TensorRT give the address
    /// 0x228 instead of null.
    ///
    /// # Safety
    /// `pointer` is what a function of TensorRT returned as a new object which the caller owns.
    pub(crate) unsafe fn new(pointer: *mut Object) -> Option<Self> {
        NonNull::new(pointer)
            .filter(|object| object.addr().get() >= LOWEST_ADDRESS)
            .map(|object| Self { object })
    }

    /// The object, for calls that take it as an argument.
    pub(crate) fn as_ptr(&self) -> *mut Object {
        self.object.as_ptr()
    }

    /// What a method is called on.
    pub(crate) fn this(&self) -> This {
        // SAFETY: by `new`, this is an object of TensorRT, which is deleted only by `drop`.
        unsafe { implementation(self.object) }
    }

    /// The function at `slot` of this object.
    ///
    /// # Safety
    /// The slot is of this object's class, family and version.
    pub(crate) unsafe fn method<F: Copy>(&self, slot: Slot<F>) -> F {
        // SAFETY: the implementation is alive as long as the object; the caller promises the rest.
        unsafe { slot.of(self.this()) }
    }
}

/// What the methods of `object`, which somebody else owns, are called on.
///
/// # Safety
/// `object` is a live object of TensorRT.
pub(crate) unsafe fn implementation(object: NonNull<Object>) -> This {
    // SAFETY: the caller promises that there is an `Object`.
    unsafe { (*object.as_ptr()).implementation }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let object = self.object.as_ptr();
        // SAFETY: by `new`, this is an object of TensorRT, which begins with the address of its vtable.
        let vtable = unsafe { (*object).vtable };
        // SAFETY: every class that is handed out has two destructors at the beginning of its vtable.
        let slot = unsafe { vtable.add(DELETING_DESTRUCTOR) };
        // SAFETY: as above.
        let delete = unsafe { slot.read() };
        // SAFETY: nobody else owns the object, and what it depends on is still there.
        unsafe { delete(object) };
    }
}

impl fmt::Debug for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}", self.object)
    }
}

/// `object`'s address as C++ passes references and pointers to interfaces.
pub(crate) fn untyped<T>(object: *const T) -> *mut c_void {
    object.cast_mut().cast()
}
