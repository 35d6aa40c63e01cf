//! The response cache in a Redis server, which several servers may share.
//!
//! Whatever waits for Redis has threads of its own, `cache`; when Redis is slow or gone, `health` says so once, every
//! look finds nothing, and one thread tries again. What is stored has a form of our own, `codec`: nothing that lies in
//! Redis is believed. Which requests ask for what is the scheduler's business.

mod cache;
mod client;
mod codec;
mod health;
mod settings;

pub use cache::RedisCache;
pub use settings::Settings;
