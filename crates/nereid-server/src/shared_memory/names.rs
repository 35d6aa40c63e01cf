//! Names of regions and keys of objects: what is refused, and how they look in messages.

use std::borrow::Cow;

use nereid_core::{Error, Result};

/// Longest name of a region: it is kept, and shown in every status.
const MAX_NAME_BYTES: usize = 1024;
/// Longest name or key in a message: gRPC carries messages in headers, and clients bound those.
const MAX_SHOWN_BYTES: usize = 256;
/// Triton's Python backend makes its own regions under this prefix.
const RESERVED_PREFIX: &str = "triton_python_backend_shm_region_";

/// # Errors
/// `InvalidArg` for a name that is too long to keep.
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    Err(Error::invalid_arg(format!(
        "shared memory region name '{}' of {} bytes is longer than the limit of {MAX_NAME_BYTES} bytes",
        shown(name),
        name.len()
    )))
}

/// The key without the slashes in front, as `shm_open` takes it.
pub(super) fn bare(key: &str) -> &str {
    key.trim_start_matches('/')
}

/// Triton's `ValidateSharedMemoryKey`.
///
/// # Errors
/// `InvalidArg` when there is nothing but slashes, or the reserved prefix behind them.
pub(super) fn check_key(name: &str, key: &str) -> Result<()> {
    let bare = bare(key);
    if bare.is_empty() {
        return Err(Error::invalid_arg(format!(
            "cannot register shared memory region '{name}' - invalid shm key '{}'",
            shown(key)
        )));
    }
    if bare.starts_with(RESERVED_PREFIX) {
        return Err(Error::invalid_arg(format!(
            "cannot register shared memory region '{name}' with key '{}' as the key contains the reserved prefix \
             '{RESERVED_PREFIX}'",
            shown(key)
        )));
    }
    Ok(())
}

/// `text` in a message: cut where it is so long that the message might not arrive.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_SHOWN_BYTES {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}...", &text[..text.floor_char_boundary(MAX_SHOWN_BYTES)]))
}
