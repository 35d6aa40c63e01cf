//! Instances that bind their tensors in the memory of a GPU, so that none goes through the host that need not.

mod binding;
mod inputs;
mod instance;
mod outputs;

pub(crate) use instance::BoundInstance;
