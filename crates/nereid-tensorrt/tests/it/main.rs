//! The binding against libraries that stand in for TensorRT 10 and 11, on host memory.

mod contexts;
mod drops;
mod engines;
mod fixture;
mod headers;
mod loader;
mod logs;
mod majors;
mod outputs;
mod plans;
mod real;
mod runtimes;
mod threads;
