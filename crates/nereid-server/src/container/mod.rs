//! What the process may use: CPUs and memory, as its container, its affinity and the machine limit them.
//!
//! Control groups of both versions are read, also mixed and nested ones. Parsing is pure, on the texts of the kernel's files;
//! whatever cannot be read is no limit. Nothing is decided here but how many threads that makes ([`Cpus::threads`]).

mod cgroup;
mod cpu;
mod limits;
mod memory;

pub(crate) use cpu::{Cpus, Throttling};
pub(crate) use limits::Container;
pub(crate) use memory::{Memory, resident};
