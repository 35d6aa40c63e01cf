//! The settings of an instance's runs, which are also the handle by which another thread stops them.

use nereid_core::backend::Terminate;
use ort::sys::OrtRunOptions;

use crate::error::check;
use crate::raw::RunOptions;
use crate::runtime::Runtime;

/// Run options that an instance shares with whoever may stop it.
///
/// ONNX Runtime looks at the word between two nodes, also in subgraphs: a run ends after the node that it is at.
#[derive(Debug)]
pub(crate) struct Handle {
    runtime: &'static Runtime,
    options: RunOptions,
}

impl Handle {
    pub(crate) fn new(runtime: &'static Runtime, options: RunOptions) -> Self {
        Self { runtime, options }
    }

    /// For `Run`; valid while `self` lives.
    pub(crate) fn as_ptr(&self) -> *const OrtRunOptions {
        self.options.as_ptr()
    }
}

impl Terminate for Handle {
    fn terminate(&self) {
        // SAFETY: the options live; the call is made for use by another thread while `Run` reads them.
        let status = unsafe { (self.runtime.api.RunOptionsSetTerminate)(self.options.as_ptr()) };
        if let Err(e) = check(self.runtime.api, status) {
            tracing::warn!("failed to stop a run: {e}");
        }
    }

    fn reset(&self) {
        // SAFETY: the options live, and no run reads them.
        let status = unsafe { (self.runtime.api.RunOptionsUnsetTerminate)(self.options.as_ptr()) };
        if let Err(e) = check(self.runtime.api, status) {
            tracing::error!("failed to let an instance run again: {e}");
        }
    }
}
