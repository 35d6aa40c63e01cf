//! Micro-benchmarks of the pieces of a request's way that need neither socket nor model.

mod batcher;
mod cache;
mod decode;
mod encode;
mod gather;
mod statistics;

use criterion::{criterion_group, criterion_main};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(micro, decode::all, batcher::all, cache::all, gather::all, encode::all, statistics::all);
criterion_main!(micro);
