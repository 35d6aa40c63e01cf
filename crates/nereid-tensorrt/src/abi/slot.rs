//! One position in a vtable, with the type of the function that lies there.

use std::ffi::c_void;
use std::marker::PhantomData;

/// What a virtual method gets as its first argument.
pub(crate) type This = *mut c_void;

/// Position of a method in the vtable of its class, counted from the vtable's address point. `F` is the method's type as
/// a C function, whose first argument is [`This`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot<F> {
    index: usize,
    since: i32,
    function: PhantomData<F>,
}

impl<F: Copy> Slot<F> {
    /// The family has no such method.
    pub(crate) const ABSENT: Self = Self::since(i32::MAX, usize::MAX);

    /// Position `index`, in every version of the family.
    pub(crate) const fn at(index: usize) -> Self {
        Self::since(0, index)
    }

    /// Position `index`, from minor version `minor` of the family on.
    pub(crate) const fn since(minor: i32, index: usize) -> Self {
        Self { index, since: minor, function: PhantomData }
    }

    /// This, if minor version `minor` has it.
    pub(crate) fn in_minor(self, minor: i32) -> Option<Self> {
        (self.since <= minor && self.index != usize::MAX).then_some(self)
    }

    /// The method of `this`.
    ///
    /// # Safety
    /// `this` points to a live object whose first word points to a vtable of the class, family and version that the slot
    /// was written for.
    pub(crate) unsafe fn of(self, this: This) -> F {
        const { assert!(size_of::<F>() == size_of::<*const c_void>(), "F is the type of a function") };
        // SAFETY: the caller promises that the object begins with the address of its vtable.
        let vtable = unsafe { this.cast::<*const F>().read() };
        // SAFETY: the caller promises that the vtable has this slot.
        let slot = unsafe { vtable.add(self.index) };
        // SAFETY: it holds a function of type F, by the caller's promise and the golden table.
        unsafe { slot.read() }
    }

    /// Where the golden table should have it, and from which minor version on; `None`: nowhere.
    #[cfg(test)]
    pub(crate) fn place(self) -> Option<(usize, i32)> {
        (self.index != usize::MAX).then_some((self.index, self.since))
    }
}
