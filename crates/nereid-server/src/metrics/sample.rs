//! What one version of a model has to show at one moment, and under which labels.

use std::time::Duration;

use nereid_repository::ModelVersion;
use nereid_scheduler::statistics::Counts;

/// A snapshot of one version.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// Name and value, in alphabetical order of the names.
    pub(super) labels: Vec<(String, String)>,
    pub(super) counts: Counts,
    /// Requests that wait for an instance.
    pub(super) pending: usize,
    pub(super) load_duration: Duration,
}

impl Sample {
    /// `model` as it is now.
    pub(super) fn of(model: &ModelVersion) -> Self {
        let scheduler = model.scheduler();
        let tags = model.wire_config.metric_tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        Self {
            labels: labels(&model.name, model.version, tags),
            counts: scheduler.statistics().snapshot(),
            pending: scheduler.pending(),
            load_duration: model.load_duration,
        }
    }
}

/// `model`, `version` and each of the config's `metric_tags` with an underscore in front of its key. A tag that
/// Prometheus would not take as a label is left out: one bad name makes the whole page unreadable for it.
pub(super) fn labels<'a>(
    model: &str,
    version: u64,
    tags: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<(String, String)> {
    let mut labels =
        vec![("model".to_owned(), model.to_owned()), ("version".to_owned(), version.to_string())];
    let valid = |key: &str| {
        !key.is_empty()
            && !key.starts_with('_')
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    labels
        .extend(tags.filter(|(key, _)| valid(key)).map(|(key, value)| (format!("_{key}"), value.to_owned())));
    labels.sort();
    labels
}
