//! What owns memory, streams and graphs, on the GPU in host memory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod host;
mod owners;
mod staging;
