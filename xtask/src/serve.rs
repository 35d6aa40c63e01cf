//! `xtask serve`: the server on `model_repository/`, from nothing to a curl line. It passes signals on and
//! ends as the server ends; what the server does is none of its business.

use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ServeArgs;
use crate::onnxruntime::{self, Build};
use crate::progress::{Steps, bold, green, red};
use crate::workspace::{Profile, Workspace};
use crate::{plans, probe};

/// How often a starting server is asked whether it is ready.
const POLL: Duration = Duration::from_millis(50);

/// After this long a server that is live but not ready is worth a word.
const PATIENCE: Duration = Duration::from_secs(20);

const SAMPLE: &str = "samples/digits/seven.json";

/// Runs the server until it ends, and returns its exit code.
pub(crate) fn run(workspace: &Workspace, args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let mut steps = Steps::new(3);
    let step = steps.start("ONNX Runtime");
    let library = onnxruntime::library(workspace, if args.gpu { Build::Gpu } else { Build::Cpu })?;
    step.done(&library.display().to_string());
    let profile = if args.debug { Profile::Dev } else { Profile::Release };
    let step = steps.start("Build of the server");
    let binary = workspace.build_server(profile)?;
    step.done(&binary.display().to_string());
    steps.start("Server");
    let ports = Ports::of(&args.flags)?;
    let command = command(workspace, &binary, &library, &args.flags);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(supervise(command, ports))
}

/// Where the server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ports {
    http: u16,
    grpc: u16,
    metrics: u16,
}

impl Ports {
    /// Triton's ports, unless `flags` say otherwise.
    fn of(flags: &[String]) -> anyhow::Result<Self> {
        let port = |name: &str, default| match value(flags, name) {
            Some(text) => text.parse().with_context(|| format!("{name} is '{text}', which is not a port")),
            None => Ok(default),
        };
        Ok(Self {
            http: port("--http-port", 8000)?,
            grpc: port("--grpc-port", 8001)?,
            metrics: port("--metrics-port", 8002)?,
        })
    }
}

/// The last value of `--name=value` or `--name value` in `flags`.
fn value<'a>(flags: &'a [String], name: &str) -> Option<&'a str> {
    flags.iter().enumerate().rev().find_map(|(i, flag)| match flag.strip_prefix(name)? {
        "" => flags.get(i + 1).map(String::as_str),
        rest => rest.strip_prefix('='),
    })
}

fn command(workspace: &Workspace, binary: &Path, library: &Path, flags: &[String]) -> Command {
    let mut command = Command::new(binary);
    command.env(onnxruntime::VARIABLE, library).current_dir(workspace.path(""));
    if value(flags, "--model-repository").or(value(flags, "--model-store")).is_none() {
        let repository = workspace.path("model_repository");
        command.arg(format!("--model-repository={}", repository.display()));
        command.args(lenience(&repository, flags));
    }
    // A group of its own: Ctrl-C reaches the server once, through us.
    command.args(flags).process_group(0).kill_on_drop(true);
    command
}

/// A plan is refused where there is no GPU: then the other models are served all the same.
fn lenience(repository: &Path, flags: &[String]) -> Vec<&'static str> {
    let lenient = ["--exit-on-error=false", "--ready-when=server"];
    let is_given = |name: &str| value(flags, name).is_some();
    let given = |flag: &&str| match flag.split_once('=') {
        Some((name @ "--ready-when", _)) => is_given(name) || is_given("--strict-readiness"),
        Some((name, _)) => is_given(name),
        None => false,
    };
    if plans::any(repository) {
        lenient.into_iter().filter(|flag| !given(flag)).collect()
    } else {
        Vec::new()
    }
}

async fn supervise(mut command: Command, ports: Ports) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut server = command.spawn().context("could not start the server")?;
    let mut announcement = tokio::spawn(announce(ports));
    let mut announced = false;
    loop {
        tokio::select! {
            status = server.wait() => {
                announcement.abort();
                return Ok(exit_code(status?));
            }
            _ = interrupt.recv() => pass_on(&server, rustix::process::Signal::INT)?,
            _ = terminate.recv() => pass_on(&server, rustix::process::Signal::TERM)?,
            result = &mut announcement, if !announced => {
                announced = true;
                result.context("the announcement panicked")?;
            }
        }
    }
}

fn pass_on(server: &Child, signal: rustix::process::Signal) -> anyhow::Result<()> {
    let pid = server.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    let Some(pid) = pid else { return Ok(()) }; // it has ended meanwhile
    match rustix::process::kill_process(pid, signal) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        result => result.context("passing a signal on to the server"),
    }
}

/// The server's code; 128 + signal, as a shell says it, when a signal ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or(status.signal().map(|s| 128 + s)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Waits until the server is ready, then says what it serves and how to try it.
async fn announce(ports: Ports) {
    let mut waited = Duration::ZERO;
    let mut warned = false;
    while !ask(move || probe::is_ok(ports.http, "/v2/health/ready")).await {
        tokio::time::sleep(POLL).await;
        waited += POLL;
        if waited >= PATIENCE && !warned && ask(move || probe::is_ok(ports.http, "/v2/health/live")).await {
            println!("{}", red("live, but not ready yet:"));
            ask(move || print_models(ports.http)).await;
            warned = true;
        }
    }
    println!("\n{}", green("ready"));
    ask(move || print_models(ports.http)).await;
    let Ports { http, grpc, metrics } = ports;
    println!("HTTP     {}", bold(&format!("http://localhost:{http}/v2")));
    println!("gRPC     {}", bold(&format!("localhost:{grpc}")));
    println!("metrics  {}", bold(&format!("http://localhost:{metrics}/metrics")));
    println!("try      curl -s localhost:{http}/v2/models/mnist_mlp/infer -d @{SAMPLE}");
    println!("end      Ctrl-C\n");
}

/// Runs a blocking question beside the signals.
async fn ask<T: Default + Send + 'static>(question: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(question).await.unwrap_or_default()
}

fn print_models(port: u16) {
    match probe::index(port) {
        Ok(index) => {
            for model in index {
                let reason =
                    if model.reason.is_empty() { String::new() } else { format!("  {}", model.reason) };
                println!("model    {} version {} is {}{reason}", model.name, model.version, model.state);
            }
        }
        Err(error) => println!("{}", red(&format!("the models are unknown: {error:#}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: &[&str], http: u16, grpc: u16) {
        let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
        assert_eq!(Ports::of(&flags).unwrap(), Ports { http, grpc, metrics: 8002 }, "{flags:?}");
    }

    #[test]
    fn plans_do_not_keep_the_other_models_from_being_served() {
        let repository = tempfile::tempdir().unwrap();
        assert!(lenience(repository.path(), &[]).is_empty());
        std::fs::create_dir_all(repository.path().join("m_trt/1")).unwrap();
        std::fs::write(repository.path().join("m_trt/1/model.plan"), "").unwrap();
        assert_eq!(lenience(repository.path(), &[]), ["--exit-on-error=false", "--ready-when=server"]);
        for (strict, rest) in [
            ("--exit-on-error=true", "--ready-when=server"),
            ("--strict-readiness=true", "--exit-on-error=false"),
            ("--ready-when=all", "--exit-on-error=false"),
        ] {
            assert_eq!(lenience(repository.path(), &[strict.to_owned()]), [rest]);
        }
    }

    #[test]
    fn ports_follow_the_flags() {
        check(&[], 8000, 8001);
        check(&["--http-port=9000", "--log-verbose=1"], 9000, 8001);
        check(&["--grpc-port", "9001", "--http-port=1", "--http-port=2"], 2, 9001);
        check(&["--http-port-x=1"], 8000, 8001);
        assert!(Ports::of(&["--http-port=abc".to_owned()]).is_err());
    }
}
