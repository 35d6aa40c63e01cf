//! The GPUs of the machine, through the CUDA driver, which is loaded when it is first asked for.

mod describe;
mod gpu;
mod library;
mod probe;
mod symbols;
mod unavailable;

pub use probe::devices;
pub use unavailable::Unavailable;
