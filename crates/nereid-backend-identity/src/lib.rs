//! A backend whose models give their inputs back: `OUTPUT<n>` is `INPUT<n>`, of any type and shape. People use it to
//! see how their requests travel, and tests use it because it needs no model file and can be told how long it takes.
//!
//! Follows Triton's identity backend (<https://github.com/triton-inference-server/identity_backend>) but for its custom
//! trace activities.

mod backend;
mod counters;
mod delay;
mod instance;
mod pairs;
mod settings;

pub use backend::Identity;
