//! How glibc's malloc, from which ONNX Runtime has its memory, gives memory back to the system. Our own memory comes
//! from elsewhere; other C libraries have nothing to set.

/// Larger blocks are mapped and unmapped one by one, and no arena keeps more than this at its end.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: i32 = 4 << 20;

/// Sets limits where glibc adapts them to the largest block that was ever freed: then each of its arenas, of which
/// there are eight per CPU, may keep as much as a model's weights after the model is gone.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    for (variable, parameter) in [
        ("MALLOC_MMAP_THRESHOLD_", libc::M_MMAP_THRESHOLD),
        ("MALLOC_TRIM_THRESHOLD_", libc::M_TRIM_THRESHOLD),
    ] {
        if std::env::var_os(variable).is_some() {
            continue; // someone has chosen already
        }
        // SAFETY: it may be called at any time and sets a number.
        let set = unsafe { libc::mallopt(parameter, KEPT_BYTES) };
        if set == 0 {
            tracing::warn!("mallopt refused parameter {parameter}: memory may not come back after unloading");
        }
    }
}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}
