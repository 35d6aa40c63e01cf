//! How many bytes of inputs each model has been given: the example of a backend's own metric in Triton's backend.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use nereid_core::backend::Counter;
use parking_lot::Mutex;

/// Of every version that is loaded.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Vec<Weak<InputBytes>>>);

/// Of one version. Goes with its last owner.
#[derive(Debug)]
pub(crate) struct InputBytes {
    model: String,
    version: u64,
    count: AtomicU64,
}

impl Counters {
    /// A counter at 0 for a version that is being loaded.
    pub(crate) fn add(&self, model: &str, version: u64) -> Arc<InputBytes> {
        let counter = Arc::new(InputBytes { model: model.to_owned(), version, count: AtomicU64::new(0) });
        let mut all = self.0.lock();
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&counter));
        counter
    }

    /// All as they are now. While a version replaces another one of the same number, they count together.
    pub(crate) fn read(&self) -> Vec<Counter> {
        let mut all: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        all.sort_by(|a, b| a.key().cmp(&b.key()));
        let same = all.chunk_by(|a, b| a.key() == b.key());
        same.map(|counters| Counter {
            name: "input_byte_size_counter",
            help: "Cumulative input byte size of all requests received by the model",
            labels: vec![("model", counters[0].model.clone()), ("version", counters[0].version.to_string())],
            value: counters.iter().map(|counter| counter.count.load(Ordering::Relaxed)).sum(),
        })
        .collect()
    }
}

impl InputBytes {
    pub(crate) fn add(&self, bytes: usize) {
        self.count.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn key(&self) -> (&str, u64) {
        (&self.model, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_live_as_long_as_their_versions() {
        let counters = Counters::default();
        let [b, a, again] =
            [("b", 1), ("a", 2), ("b", 1)].map(|(model, version)| counters.add(model, version));
        b.add(3);
        again.add(4);
        let read = || -> Vec<_> {
            counters
                .read()
                .into_iter()
                .map(|c| (c.labels[0].1.clone(), c.labels[1].1.clone(), c.value))
                .collect()
        };
        assert_eq!(read(), [("a".into(), "2".into(), 0), ("b".into(), "1".into(), 7)]);
        drop((a, b));
        assert_eq!(read(), [("b".into(), "1".into(), 4)]);
    }
}
