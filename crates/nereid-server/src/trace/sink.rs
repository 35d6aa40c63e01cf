//! Where traces go: files, or a collector. The same for all settings.

use std::time::Duration;

use super::otlp::Exporter;
use super::record::Record;
use super::writer::Writer;

/// The way to one or the other. Clones share it.
#[derive(Debug, Clone)]
pub(super) enum Sink {
    Files(Writer),
    Collector(Exporter),
}

impl Sink {
    /// Hands over a finished trace.
    pub(super) fn submit(&self, record: Box<Record>) {
        match self {
            Self::Files(writer) => writer.submit(record),
            Self::Collector(exporter) => exporter.submit(record),
        }
    }

    /// Nothing more comes under the settings `id`.
    pub(super) fn retire(&self, id: u64) {
        if let Self::Files(writer) = self {
            writer.retire(id);
        }
    }

    /// Writes or sends what there is, for at most `limit`. What is submitted later is lost.
    pub(super) fn finish(&self, limit: Duration) {
        match self {
            Self::Files(writer) => writer.finish(limit),
            Self::Collector(exporter) => exporter.finish(limit),
        }
    }
}
