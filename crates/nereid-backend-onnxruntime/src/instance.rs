//! Runs one batch at a time: bind, run, take. Allocates nothing that does not go into the response, takes
//! no lock and looks up no name.

use std::sync::Arc;

use nereid_core::backend::{Execution, Instance, Terminate};
use nereid_core::batch::Batch;
use nereid_core::{Result, Timestamp};

use crate::error::{check, is_about_room};
use crate::inputs::Inputs;
use crate::model::Loaded;
use crate::outputs::Outputs;
use crate::raw::Value;
use crate::terminate::Handle;

/// An instance; on the CPU its session is shared with the other instances of the version.
#[derive(Debug)]
pub(crate) struct OnnxInstance {
    inputs: Inputs,
    outputs: Outputs,
    run_options: Arc<Handle>,
    /// The graph keeps the output shapes that it declares; see [`Self::run`].
    preallocate: bool,
    // Last, so that values and names that point into it go first.
    loaded: Arc<Loaded>,
}

// SAFETY: the raw pointers in it point into `loaded`, which it owns a part of; nothing is tied to a thread.
unsafe impl Send for OnnxInstance {}

impl OnnxInstance {
    /// An instance that runs `loaded`.
    pub(crate) fn new(loaded: Arc<Loaded>, run_options: Handle) -> Self {
        let inputs = Inputs::new(&loaded.plan);
        let run_options = Arc::new(run_options);
        Self { inputs, outputs: Outputs::default(), run_options, preallocate: true, loaded }
    }

    fn run(&mut self, batch: &Batch<'_>) -> Result<Execution> {
        self.inputs.bind(self.loaded.runtime, &self.loaded.plan, batch)?;
        self.outputs.prepare(&self.loaded, batch, self.preallocate)?;
        let inputs_ready = Timestamp::now();
        let mut result = self.call();
        if result.as_ref().is_err_and(is_about_room) && self.outputs.preallocated() {
            // Graphs are seen whose outputs have another shape than they declare; ONNX Runtime allows
            // that as long as it allocates them.
            self.outputs.prepare(&self.loaded, batch, false)?;
            result = self.call();
            self.preallocate = result.is_err();
        }
        result?;
        let compute_done = Timestamp::now();
        let outputs = self.outputs.take(&self.loaded, &self.inputs)?;
        Ok(Execution { outputs: outputs.into(), parameters: Vec::new(), inputs_ready, compute_done })
    }

    fn call(&mut self) -> Result<()> {
        let Self { inputs, outputs, .. } = self;
        let Loaded { runtime, session, .. } = &*self.loaded;
        // `Value` and `Option<Value>` have the layout of a pointer, not null and nullable.
        let values = inputs.values.as_ptr().cast();
        let results = outputs.values.as_mut_ptr().cast();
        // SAFETY: names and values come in pairs and live until they are cleared, as do session and
        // options. ONNX Runtime stores owned values over nulls and leaves the others alone.
        let status = unsafe {
            (runtime.api.Run)(
                session.as_ptr(),
                self.run_options.as_ptr(),
                inputs.names.as_ptr(),
                values,
                inputs.names.len(),
                outputs.names.as_ptr(),
                outputs.names.len(),
                results,
            )
        };
        check(runtime.api, status)
    }
}

const _: () =
    assert!(size_of::<Value>() == size_of::<*mut ()>() && size_of::<Option<Value>>() == size_of::<*mut ()>());

impl Instance for OnnxInstance {
    fn execute(&mut self, batch: &Batch<'_>) -> Result<Execution> {
        let execution = self.run(batch);
        // Whatever happened, nothing may point into the batch when this returns.
        self.inputs.clear();
        self.outputs.clear();
        execution
    }

    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        Some(self.run_options.clone())
    }
}
