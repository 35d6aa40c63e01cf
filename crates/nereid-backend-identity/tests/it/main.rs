//! The backend as a server uses it: configs in, batches through, responses out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod execute;
mod fixture;
mod stop;
