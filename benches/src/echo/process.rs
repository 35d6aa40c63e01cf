//! The echo server as a process of its own, so that its CPU time is not the load generator's.

use anyhow::{Context, Result};

use crate::args::EchoArgs;
use crate::child::{Child, say};
use crate::load::Endpoint;
use crate::model::Sample;

/// An echo server in a process of its own.
#[derive(Debug)]
pub struct EchoServer {
    _child: Child,
    pub endpoint: Endpoint,
}

impl EchoServer {
    /// Starts one that answers `sample`, on `shards` threads.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(sample: &Sample, shards: usize) -> Result<Self> {
        let (facts, batch) = (serde_json::to_string(&sample.facts)?, sample.batch.to_string());
        let mut child = Child::of_this_program(&[
            "echo",
            "--facts",
            &facts,
            "--batch",
            &batch,
            "--shards",
            &shards.to_string(),
        ])?;
        let (http, grpc) = child.read().context("the echo server did not start")?;
        let pid = child.id();
        Ok(Self { _child: child, endpoint: Endpoint { http, grpc, pid } })
    }

    /// The child: serves until its standard input ends.
    ///
    /// # Errors
    /// No port or thread can be had.
    pub fn serve(args: &EchoArgs) -> Result<()> {
        let sample =
            Sample { facts: args.facts.clone(), batch: args.batch, regions: None, expected: Vec::new() };
        let endpoint = super::start(&sample, args.shards)?;
        say(&(endpoint.http, endpoint.grpc))?;
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        Ok(())
    }
}
