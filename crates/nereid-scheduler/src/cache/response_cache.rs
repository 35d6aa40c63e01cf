//! The cache of a server, which all its models share: in memory, or elsewhere behind [`SharedCache`]. Counts what
//! happens; knows no scheduler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nereid_core::InferResponse;
use nereid_core::cache::{CacheKey, SharedCache};
use parking_lot::Mutex;

use super::key::ModelIdentity;
use super::lru::Lru;
use super::stored::Stored;

/// A response cache and its counters.
#[derive(Debug)]
pub struct ResponseCache {
    pub(crate) store: Store,
    hits: AtomicU64,
    misses: AtomicU64,
    look_up_ns: AtomicU64,
    insertion_ns: AtomicU64,
    identities: AtomicU64,
}

/// Where responses are.
#[derive(Debug)]
pub(crate) enum Store {
    Local(Local),
    Shared(Arc<dyn SharedCache>),
}

/// The cache in memory.
#[derive(Debug)]
pub(crate) struct Local(Mutex<Lru<CacheKey, Stored>>);

/// A response that is larger than the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge {
    pub(crate) weight: u64,
    pub(crate) capacity: u64,
}

/// What a cache in memory has to show.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CacheValues {
    /// From 0 to 1.
    pub utilization: f64,
    pub entries: usize,
    /// Requests that were answered by the cache, or by the run of another, identical one.
    pub hits: u64,
    /// Requests that ran.
    pub misses: u64,
    pub evictions: u64,
    pub look_up_us: u64,
    pub insertion_us: u64,
}

impl ResponseCache {
    /// A cache in memory for `capacity_bytes` of responses.
    pub fn local(capacity_bytes: u64) -> Self {
        Self::new(Store::Local(Local(Mutex::new(Lru::new(capacity_bytes)))))
    }

    /// A cache elsewhere.
    pub fn shared(cache: Arc<dyn SharedCache>) -> Self {
        Self::new(Store::Shared(cache))
    }

    fn new(store: Store) -> Self {
        Self {
            store,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            look_up_ns: AtomicU64::new(0),
            insertion_ns: AtomicU64::new(0),
            identities: AtomicU64::new(0),
        }
    }

    /// Whether others use it too, and it outlives this server: a model's identity must then be the same for the same
    /// model wherever and whenever it is loaded, and [`Self::identity`] is not.
    pub fn is_shared(&self) -> bool {
        matches!(self.store, Store::Shared(_))
    }

    /// An identity for a model that was just loaded, unlike that of any other: what was cached of the model before it
    /// was loaded anew is not found any more.
    pub fn identity(&self) -> ModelIdentity {
        let mut identity = [0; 32];
        identity[..8].copy_from_slice(&self.identities.fetch_add(1, Relaxed).to_le_bytes());
        ModelIdentity(identity)
    }

    /// What there is to show; `None` for a cache elsewhere.
    pub fn values(&self) -> Option<CacheValues> {
        let Store::Local(Local(lru)) = &self.store else { return None };
        let (capacity, weight, entries, evictions) = {
            let lru = lru.lock();
            (lru.capacity(), lru.weight(), lru.len(), lru.evictions())
        };
        Some(CacheValues {
            utilization: if capacity == 0 { 0.0 } else { weight as f64 / capacity as f64 },
            entries,
            evictions,
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            look_up_us: self.look_up_ns.load(Relaxed) / 1000,
            insertion_us: self.insertion_ns.load(Relaxed) / 1000,
        })
    }

    /// Counts a request that need not run.
    pub(crate) fn count_hit(&self, look_up_ns: u64) {
        self.hits.fetch_add(1, Relaxed);
        self.look_up_ns.fetch_add(look_up_ns, Relaxed);
    }

    /// Counts a request that must run.
    pub(crate) fn count_miss(&self, look_up_ns: u64) {
        self.misses.fetch_add(1, Relaxed);
        self.look_up_ns.fetch_add(look_up_ns, Relaxed);
    }

    /// Counts the time of an insertion.
    pub(crate) fn count_insertion(&self, ns: u64) {
        self.insertion_ns.fetch_add(ns, Relaxed);
    }

    /// Stores a copy of `response`.
    pub(crate) fn insert(&self, key: CacheKey, response: &InferResponse) -> Result<(), TooLarge> {
        match &self.store {
            Store::Local(local) => local.insert(key, response),
            Store::Shared(cache) => {
                cache.insert(key, response);
                Ok(())
            }
        }
    }
}

impl Local {
    /// The response under `key`.
    pub(crate) fn get(&self, key: &CacheKey) -> Option<Stored> {
        self.0.lock().get(key).cloned()
    }

    fn insert(&self, key: CacheKey, response: &InferResponse) -> Result<(), TooLarge> {
        let weight = Stored::weight(response);
        let capacity = self.0.lock().capacity();
        if weight > capacity {
            return Err(TooLarge { weight, capacity });
        }
        let stored = Stored::copy(response);
        let inserted = self.0.lock().insert(key, stored, weight);
        drop(inserted); // what had to leave is freed without the lock
        Ok(())
    }
}
