//! Objects as TensorRT lays them out: what is handed out, and the implementation that the calls go to.

use std::ffi::{CStr, c_char};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::golden::Vtable;

/// What is handed out.
#[repr(C)]
pub struct Public<T> {
    vtable: *const usize,
    pub implementation: *mut Implementation<T>,
    own_vtable: [usize; 3],
}

/// What methods get.
#[repr(C)]
pub struct Implementation<T> {
    vtable: *const usize,
    pub state: T,
}

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// How many objects there are.
pub fn live() -> usize {
    LIVE.load(Ordering::SeqCst)
}

/// A new object, deleted through its vtable.
pub fn create<T>(vtable: Vtable, state: T) -> *mut Public<T> {
    LIVE.fetch_add(1, Ordering::SeqCst);
    let implementation = Box::into_raw(Box::new(Implementation { vtable: vtable.0, state }));
    let own_vtable = [complete::<T> as *const () as usize, delete::<T> as *const () as usize, 0];
    let object = Box::into_raw(Box::new(Public { vtable: std::ptr::null(), implementation, own_vtable }));
    // SAFETY: the object was made just now.
    let entries = unsafe { &raw const (*object).own_vtable };
    // SAFETY: as above.
    unsafe { (*object).vtable = entries.cast() };
    object
}

extern "C" fn complete<T>(_object: *mut Public<T>) {
    die("a complete destructor was called on an object that TensorRT allocated");
}

extern "C" fn delete<T>(object: *mut Public<T>) {
    // SAFETY: the caller owns the object.
    let object = unsafe { Box::from_raw(object) };
    // SAFETY: made by `create`, with the object.
    let implementation = unsafe { Box::from_raw(object.implementation) };
    drop(implementation);
    LIVE.fetch_sub(1, Ordering::SeqCst);
}

/// Deletes an object that this library owns itself.
pub fn delete_now<T>(object: *mut Public<T>) {
    delete(object);
}

/// An object that others depend on.
#[derive(Clone, Debug)]
pub struct Parent {
    name: &'static str,
    children: Arc<AtomicUsize>,
}

/// Says that the parent is still needed.
pub struct Child(Arc<AtomicUsize>);

impl Parent {
    pub fn new(name: &'static str) -> Self {
        Self { name, children: Arc::default() }
    }

    pub fn child(&self) -> Child {
        self.children.fetch_add(1, Ordering::SeqCst);
        Child(Arc::clone(&self.children))
    }

    /// To be called when the object goes.
    pub fn goes(&self) {
        let children = self.children.load(Ordering::SeqCst);
        if children > 0 {
            die(&format!("{} was destroyed before {children} objects that need it", self.name));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An object that one thread at a time may use.
#[derive(Debug, Default)]
pub struct Exclusive(AtomicBool);

pub struct Used<'a>(&'a AtomicBool);

impl Exclusive {
    pub fn enter(&self, name: &str) -> Used<'_> {
        if self.0.swap(true, Ordering::SeqCst) {
            die(&format!("two threads use one {name} at the same time"));
        }
        Used(&self.0)
    }
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// What is at a C string of the caller's.
pub fn text<'a>(text: *const c_char) -> &'a str {
    if text.is_null() {
        die("a name is null");
    }
    // SAFETY: not null, and callers pass C strings.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().unwrap_or_else(|_| die("a name is not UTF-8"))
}

/// Ends the process: the library was misused.
pub fn die(why: &str) -> ! {
    eprintln!("fake TensorRT: {why}");
    std::process::abort();
}
