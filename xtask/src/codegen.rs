//! `xtask codegen`: the Rust code of our .proto files, without protoc.
//!
//! The output is committed under `crates/nereid-protocol/src/generated/`, so a build needs neither this
//! code nor a compiler of protocol buffers. With `check` nothing is written: a difference is an error.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use prost::Message;

/// The files of `proto/` that are compiled, imports included.
const PROTOS: [&str; 2] = ["grpc_service.proto", "health.proto"];

/// What the compiler writes, and what it is called in the crate.
const OUTPUTS: [(&str, &str); 2] = [("inference.rs", "inference.rs"), ("grpc.health.v1.rs", "health.rs")];

/// The encoded descriptors: for reflection, the config text and the config JSON.
const DESCRIPTOR: &str = "descriptor.bin";

/// Generates the code and writes it, or with `check` compares it with what is committed.
///
/// # Errors
/// A .proto file does not compile, a file cannot be read or written, or `check` found a difference
/// (the message names every file that differs).
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let committed = root.join("crates/nereid-protocol/src/generated");
    let mut stale = Vec::new();
    for (name, content) in generate(&root.join("proto"))? {
        let path = committed.join(name);
        if std::fs::read(&path).is_ok_and(|old| old == content) {
            continue;
        }
        if !check {
            std::fs::create_dir_all(&committed)?;
            std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        }
        stale.push(name);
    }
    if check && !stale.is_empty() {
        bail!("generated code is not that of proto/: {}; run `cargo xtask codegen`", stale.join(", "));
    }
    Ok(())
}

/// Every generated file: its name in the crate and its content.
fn generate(protos: &Path) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
    let mut files = protox::compile(PROTOS, [protos]).context("cannot compile the .proto files")?;
    let scratch = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .out_dir(scratch.path())
        .build_transport(false)
        .emit_rerun_if_changed(false)
        // Counts the fields of a message before it is taken apart.
        .codec_path("crate::codec::BoundedCodec")
        // A tensor's bytes stay slices of the message they came in.
        .bytes(".inference")
        // An input is 2 bytes on the wire at least: what it takes in memory must not be hundreds.
        .boxed(".inference.ModelInferRequest.InferInputTensor.contents")
        // A fixed order: the same config is always the same bytes.
        .btree_map(".inference")
        .compile_fds(files.clone())
        .context("cannot generate the Rust code")?;

    let mut generated = Vec::new();
    for (written, name) in OUTPUTS {
        generated.push((name, read(scratch.path().join(written))?));
    }
    // Comments and positions are of no use at run time.
    for file in &mut files.file {
        file.source_code_info = None;
    }
    generated.push((DESCRIPTOR, files.encode_to_vec()));
    Ok(generated)
}

fn read(path: PathBuf) -> anyhow::Result<Vec<u8>> {
    std::fs::read(&path).with_context(|| format!("the compiler wrote no {}", path.display()))
}
