//! A model config as JSON: what `GET /v2/models/{model}/config` answers and what a load override brings.
//!
//! Both sides follow protobuf's JSON mapping as Triton uses it; see [`to_json`] for where Triton departs
//! from it. Whether a config makes sense is not looked at here.

mod read;
mod write;

pub use read::{Error, parse};
pub use write::to_json;
