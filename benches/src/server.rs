//! The server under test: a release build of Nereid, started on free loopback ports and always ended.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nereid_core::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::load::Endpoint;

const READY_PATIENCE: Duration = Duration::from_secs(60);
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// How to start Nereid.
#[derive(Debug, Clone)]
pub struct NereidOptions {
    pub program: PathBuf,
    pub repository: PathBuf,
    /// Further arguments.
    pub args: Vec<String>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// A running Nereid.
#[derive(Debug)]
pub struct Nereid {
    process: std::process::Child,
    pub endpoint: Endpoint,
    /// From the start of the process to the first `200` of `/v2/health/ready`.
    pub start_to_ready: Duration,
    log: PathBuf,
}

impl Nereid {
    /// Starts the server on free loopback ports and waits until it is ready.
    ///
    /// # Errors
    /// It ended, or was not ready within a minute; the message shows the end of its log.
    pub fn start(options: &NereidOptions) -> Result<Self> {
        let [http, grpc, metrics] = free_ports()?;
        let log =
            File::create(&options.log).with_context(|| format!("cannot write {}", options.log.display()))?;
        let started = Timestamp::now();
        let process = Command::new(&options.program)
            .arg("--model-repository")
            .arg(&options.repository)
            .args(["--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1"])
            .arg(format!("--http-port={}", http.port()))
            .arg(format!("--grpc-port={}", grpc.port()))
            .arg(format!("--metrics-port={}", metrics.port()))
            .args(&options.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", options.program.display()))?;
        let endpoint = Endpoint { http, grpc, pid: process.id() };
        let mut this = Self { process, endpoint, start_to_ready: Duration::ZERO, log: options.log.clone() };
        while !is_ready(http) {
            if let Some(status) = this.process.try_wait()? {
                bail!("the server ended before it was ready: {status}\n{}", this.log_tail());
            }
            if Timestamp::now().since(started) > READY_PATIENCE {
                bail!("the server was not ready within {} s\n{}", READY_PATIENCE.as_secs(), this.log_tail());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        this.start_to_ready = Timestamp::now().since(started);
        Ok(this)
    }

    /// Asks the server to end, and waits for it.
    ///
    /// # Errors
    /// It did not end by itself, or not well.
    pub fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM)?;
        let asked = Timestamp::now();
        loop {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server ended badly: {status}\n{}", self.log_tail()),
                None if Timestamp::now().since(asked) > DRAIN_PATIENCE => {
                    bail!("the server did not end within {} s\n{}", DRAIN_PATIENCE.as_secs(), self.log_tail())
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn log_tail(&self) -> String {
        tail(&self.log, 2000)
    }
}

impl Drop for Nereid {
    fn drop(&mut self) {
        // Both fail only if the server is gone already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Loopback addresses that nobody listened on a moment ago.
fn free_ports<const N: usize>() -> Result<[SocketAddr; N]> {
    let listeners: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<std::io::Result<_>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<std::io::Result<Vec<_>>>()?;
    Ok(std::array::from_fn(|i| addresses[i]))
}

/// One bare `GET`; whatever goes wrong means "not yet".
fn is_ready(http: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(http)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(stream, "GET /v2/health/ready HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n")?;
        let mut status = String::new();
        BufReader::new(stream).read_line(&mut status)?;
        Ok(status)
    };
    ask().is_ok_and(|status| status.split(' ').nth(1) == Some("200"))
}

/// The last `bytes` or so of a text file.
fn tail(path: &Path, bytes: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(bytes)..]).into_owned()
}
