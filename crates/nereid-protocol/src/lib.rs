//! KServe v2 on the wire: gRPC messages and services, REST JSON, binary tensors, model config text and JSON.
//!
//! This crate turns bytes into wire types and back, and knows nothing else: no sockets, no models, no
//! domain types (the frontends convert those), no validation beyond what a format itself demands.
//!
//! - [`inference`] and [`health`] are generated from `proto/` by `cargo xtask codegen`
//! - [`codec`] is what the generated services read and write messages with
//! - [`config_text`] is `config.pbtxt`
//! - [`config_json`] is a model config as `/v2/models/{model}/config` shows it and a load override brings it
//! - [`rest`] is the HTTP bodies

pub mod codec;
pub mod config_json;
pub mod config_text;
mod descriptors;
pub mod rest;

/// The messages and the service of package `inference`: KServe v2 with the extensions of Triton.
///
/// Every `bytes` field is a [`bytes::Bytes`], a slice of the message it was decoded from; maps are ordered.
pub mod inference {
    #![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]
    #![allow(missing_debug_implementations, reason = "generated code")]
    #![allow(rustdoc::all, reason = "generated code")]
    include!("generated/inference.rs");
}

/// The gRPC health service, package `grpc.health.v1`: `Check` only.
pub mod health {
    #![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]
    #![allow(missing_debug_implementations, reason = "generated code")]
    include!("generated/health.rs");
}

/// The encoded `FileDescriptorSet` of every .proto file, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptor.bin");
