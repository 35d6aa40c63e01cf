//! The generate extension: `POST …/generate` and `…/generate_stream`. Looks up, decodes, infers, encodes.
//!
//! Members of the body that are named like inputs of the model become these inputs, other members parameters; the
//! answer is one flat object. The responses of a request are a stream here, although every model that is served so far
//! gives exactly one. Headers are not forwarded and bodies not compressed, as in Triton (`HandleGenerate`).

mod decode;
mod encode;
mod handle;
mod responses;

pub(super) use handle::{generate, generate_stream};
