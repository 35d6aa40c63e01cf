//! What owns memory, streams and graphs, on the GPU in host memory; and the driver, on a stand-in for its library.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod driver;
mod host;
mod owners;
mod process;
mod staging;
