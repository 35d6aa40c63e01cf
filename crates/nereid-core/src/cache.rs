//! The contract between Nereid and a response cache outside of the process, such as Redis. What is cached when, and how
//! long a request waits for it, is the schedulers' business.

use std::fmt::{self, Debug, Write as _};

use crate::{InferResponse, Result};

/// What a response is stored under: a cryptographic hash of everything that the response depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey(pub [u8; 32]);

/// Takes what was found; called once, on any thread, with no lock held. It may run a model.
pub type Found = Box<dyn FnOnce(Option<InferResponse>) + Send>;

/// A cache that several servers may share. Nothing here blocks: whatever waits for another machine has threads of its
/// own, and when that machine is slow or gone every look finds nothing.
pub trait SharedCache: Send + Sync + Debug {
    /// Looks for the response under `key` and tells `found`, in bounded time.
    ///
    /// # Errors
    /// Gives `found` back when no look can be taken at the moment.
    fn look_up(&self, key: CacheKey, found: Found) -> Result<(), Found>;

    /// Stores `response` under `key`, or not: nobody waits for it.
    fn insert(&self, key: CacheKey, response: &InferResponse);
}

impl CacheKey {
    /// In lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes all");
            text
        })
    }
}

impl Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}
