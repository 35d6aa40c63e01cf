//! Settings in use: of all models or of one. They are never changed but replaced, so that a trace ends under the
//! settings it began under; when the last holder lets go, what was collected under them is written.

use std::sync::atomic::AtomicI32;

use super::sampler::Sampler;
use super::settings::{Layer, TraceOptions, Values};
use super::writer::Writer;

/// Settings in use.
#[derive(Debug)]
pub(super) struct Live {
    /// Different for each that ever was.
    pub(super) id: u64,
    /// As they were when they came into use; the count is that of then.
    pub(super) values: Values,
    pub(super) writer: Option<Writer>,
    pub(super) sampler: Sampler,
    /// Traces that the writer had no room for, and does not know of yet.
    pub(super) dropped: AtomicI32,
    layer: Layer,
    traces: bool,
}

impl Live {
    /// Puts `values`, which come from `layer` and the layers below, to use.
    pub(super) fn new(
        id: u64,
        layer: Layer,
        values: Values,
        options: &TraceOptions,
        writer: Option<Writer>,
    ) -> Self {
        let traces = options.refusal(&values).is_none() && writer.is_some();
        let sampler = Sampler::new(values.rate, values.count);
        Self { id, values, writer, sampler, dropped: AtomicI32::new(0), layer, traces }
    }

    /// The values as they are now: the count is what is left of it.
    pub(super) fn now(&self) -> Values {
        Values { count: self.count(), ..self.values }
    }

    /// What this layer has of its own, as it is now.
    pub(super) fn layer(&self) -> Layer {
        Layer { count: self.layer.count.map(|_| self.count()), ..self.layer }
    }

    /// Whether any request may still be traced.
    pub(super) fn traces(&self) -> bool {
        self.traces && self.sampler.left() != 0
    }

    fn count(&self) -> i32 {
        self.sampler.left()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(writer) = &self.writer {
            writer.retire(self.id);
        }
    }
}
