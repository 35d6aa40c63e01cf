//! How long the server takes from its start to its first ready answer, and what memory it then holds.

use anyhow::Result;
use serde::Serialize;

use crate::cpu;
use crate::server::{Nereid, NereidOptions};
use crate::spread::Spread;

/// Some starts of the server.
#[derive(Debug, Clone, Serialize)]
pub struct Startup {
    pub starts: usize,
    pub start_to_ready_ms: Spread,
    /// Resident memory when ready.
    pub resident_mb: Spread,
}

/// Starts and ends the server `starts` times.
///
/// # Errors
/// It does not start, or does not end well.
pub fn measure(options: &NereidOptions, starts: usize) -> Result<Startup> {
    let (mut ready_ms, mut resident_mb) = (Vec::new(), Vec::new());
    for _ in 0..starts {
        let server = Nereid::start(options)?;
        ready_ms.push(server.start_to_ready.as_secs_f64() * 1e3);
        resident_mb.push(megabytes(cpu::resident_bytes(server.endpoint.pid)?));
        server.stop()?;
    }
    Ok(Startup { starts, start_to_ready_ms: Spread::of(ready_ms), resident_mb: Spread::of(resident_mb) })
}

/// Millions of bytes.
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
