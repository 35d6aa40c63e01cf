//! The wire formats from outside: model configs as text and JSON, gRPC messages as bytes.

mod config_json;
mod config_text;
mod wire;
