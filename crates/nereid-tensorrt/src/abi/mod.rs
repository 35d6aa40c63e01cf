//! The binary interface: layouts, positions in vtables, and the objects of ours that TensorRT calls.

pub(crate) mod callbacks;
pub(crate) mod error_recorder;
#[cfg(test)]
mod golden_tests;
pub(crate) mod layout;
pub(crate) mod logger;
pub(crate) mod object;
pub(crate) mod output_allocator;
pub(crate) mod slot;
pub(crate) mod slots;
