//! Something to be done when a call panics.

/// Calls `work`; if it panics, calls `cleanup` on the way out.
pub(crate) fn then<T>(cleanup: impl FnOnce(), work: impl FnOnce() -> T) -> T {
    struct Guard<F: FnOnce()>(Option<F>);

    impl<F: FnOnce()> Drop for Guard<F> {
        fn drop(&mut self) {
            if let Some(cleanup) = self.0.take() {
                cleanup();
            }
        }
    }

    let mut guard = Guard(Some(cleanup));
    let result = work();
    guard.0 = None;
    result
}
