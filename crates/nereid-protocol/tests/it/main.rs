//! The wire formats from outside: model configs as text and JSON, gRPC messages as bytes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod config_json;
mod config_text;
mod wire;
