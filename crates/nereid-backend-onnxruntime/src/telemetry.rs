//! Keeps ONNX Runtime from reporting its use to Microsoft. Builds for Linux do that by now, too: making the environment
//! writes an identifier and a database into the home folder and looks up a host, and `DisableTelemetryEvents`, which
//! needs the environment, comes too late for that.

use std::sync::Once;

/// Read by the library when it makes its environment.
const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Must come before the library is loaded; best at the start, when there are few threads.
pub(crate) fn off() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: only code outside of Rust could read the environment at the same time without the lock of the standard
        // library, and this library, the one that we load, is not there before the first call has ended.
        unsafe { std::env::set_var(VARIABLE, "1") };
    });
}
