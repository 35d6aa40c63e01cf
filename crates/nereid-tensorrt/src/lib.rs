//! TensorRT 10 and 11 through their C++ vtables, loaded at run time: nothing of NVIDIA's is needed to build.
//!
//! [`Library`] finds and loads `libnvinfer`, [`Runtime`] reads a plan, [`Engine`] says what is in it, [`ExecutionContext`]
//! runs it. Everything that TensorRT frees is held by what needs it, so that values can be dropped in any order. This crate
//! knows neither models nor requests, and neither allocates memory of a GPU nor waits for one.

#![allow(unsafe_code, reason = "this crate is the seam to a C++ library")]

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "TensorRT's vtables are known for Linux on x86_64 and aarch64 only: build without the feature `tensorrt`"
);

mod abi;
pub mod builder;
mod context;
mod datatype;
mod engine;
mod error;
mod format;
mod libraries;
mod library;
mod log;
mod output_allocator;
mod plan_file;
mod profile;
mod reader;
mod runtime;
mod tensor;
mod version;

pub use context::ExecutionContext;
pub use datatype::TensorDataType;
pub use engine::{AllocationStrategy, Engine};
pub use error::TensorRtError;
pub use format::TensorFormat;
pub use libraries::{Libraries, PlanError};
pub use library::{Library, LoadError, LoadOptions};
pub use log::{LogSink, Severity};
pub use output_allocator::OutputAllocator;
pub use profile::{Profile, ProfileInput};
pub use runtime::Runtime;
pub use tensor::{MAX_DIMS, TensorInfo, TensorLocation, TensorMode};
pub use version::{Family, Flavor, Version};
