//! The access log: a line per request for inference or model control, written when the answer was sent or given up.
//!
//! [`AccessLog`] is on or off, also while the server runs. `Logged` stands around everything that answers a
//! connection: it sees a request come, its status and its end, however it ends. In between the frontends tell an
//! `Access` what they learn. A thread of its own makes lines of it, so that no request waits for the log. Phases come from
//! [`Timing`](nereid_core::Timing), as in traces; nothing is measured twice.
//!
//! Health, metadata and metrics are left out: probes would flood the log. Switched off a request costs a few loads of a
//! flag.

mod around;
mod calls;
mod line;
mod log;
mod request;
mod writer;

pub use log::AccessLog;
pub(crate) use request::{Access, Caller};
