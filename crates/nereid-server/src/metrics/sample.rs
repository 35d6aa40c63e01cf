//! What one series has to show at one moment, and under which labels.

use std::time::Duration;

use nereid_repository::{ModelVersion, Readiness};
use nereid_scheduler::{Series, SeriesId};

use super::text::Labels;

/// A series, ready to be written.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    pub(super) series: Series,
    /// What the version that serves says of itself.
    pub(super) serving: Option<Serving>,
}

/// Of the version that serves at the moment. What is done on a GPU has zeros, as in Triton: requests wait for, and
/// loading is of, the model as a whole.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Serving {
    /// Requests that wait for an instance.
    pub(super) pending: usize,
    pub(super) load_duration: Duration,
}

impl Sample {
    pub(super) fn new(series: Series, serving: Option<Serving>) -> Self {
        Self { labels: labels(&series.id, None), series, serving }
    }

    /// The labels with one more among them.
    pub(super) fn labels_with(&self, name: &str, value: &str) -> Labels {
        labels(&self.series.id, Some((name, value)))
    }
}

impl Serving {
    /// `model` as it is now.
    pub(super) fn of(model: &ModelVersion) -> Self {
        Self { pending: model.scheduler().pending(), load_duration: model.load_duration }
    }
}

/// Those of a version that should serve, by which it is the same whether it does or not: what its config says, its tags, is
/// known of one that does.
pub(super) fn of_version(readiness: &Readiness) -> Labels {
    let Readiness { model, version, .. } = readiness;
    let namespace = Some(("namespace", &*model.namespace)).filter(|(_, path)| !path.is_empty());
    let version = version.map(|version| version.to_string());
    let version = version.as_deref().map(|version| ("version", version));
    Labels::new([("model", &*model.name)].into_iter().chain(version).chain(namespace))
}

/// `model`, `version`, `namespace` and `gpu_uuid` where there is one, and each of the config's `metric_tags` with an underscore in
/// front of its key. A tag that Prometheus would not take as a label is left out: one bad name makes the whole page
/// unreadable for it.
fn labels(id: &SeriesId, more: Option<(&str, &str)>) -> Labels {
    let valid = |key: &str| {
        !key.is_empty()
            && !key.starts_with('_')
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let version = id.version.to_string();
    let tags = id.tags.iter().filter(|(key, _)| valid(key));
    let tags: Vec<_> = tags.map(|(key, value)| (format!("_{key}"), value)).collect();
    let namespace = Some(("namespace", &*id.namespace)).filter(|(_, path)| !path.is_empty());
    let gpu_uuid = id.gpu_uuid.as_deref().map(|uuid| ("gpu_uuid", uuid));
    let pairs = [("model", &*id.model), ("version", &version)].into_iter();
    let pairs = pairs.chain(namespace).chain(gpu_uuid).chain(more);
    Labels::new(pairs.chain(tags.iter().map(|(key, value)| (key.as_str(), value.as_str()))))
}
