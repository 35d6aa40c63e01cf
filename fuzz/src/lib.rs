//! What several fuzz targets share: configs to check requests against, what must hold of an accepted request, and
//! a request written out again. The targets themselves are in `fuzz_targets/`.

mod accepted;
mod configs;
mod rewrite;

pub use accepted::assert_fits;
pub use configs::config;
pub use rewrite::{Rewritten, rewrite};

/// `--http-max-input-size` of the targets: small, so that inputs of a few kilobytes come near it.
pub const MAX_INPUT_BYTES: usize = 1 << 13;
