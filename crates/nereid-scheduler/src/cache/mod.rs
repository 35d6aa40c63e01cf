//! The response cache: what a request is stored under ([`key`]), the cache in memory ([`lru`], [`stored`]), identical
//! requests that run once ([`flights`]), and how a scheduler uses all that ([`cached`]).

mod cached;
mod flights;
mod key;
mod lru;
mod plausible;
mod response_cache;
mod stored;

pub(crate) use cached::{Cached, Front};
pub(crate) use flights::Seat;
pub use key::ModelIdentity;
pub use response_cache::{CacheValues, ResponseCache};
