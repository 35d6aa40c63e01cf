//! The binary `nereid`: parse the command line, start the log, run, and end with Triton's exit codes.
#![expect(clippy::print_stdout, reason = "the command line's own output")]

use std::process::ExitCode;

use nereid_server::TRITON_VERSION;
use nereid_server::cli::{self, Parsed};
use nereid_server::logging::{self, LogFormat, complain};
use nereid_server::run::{Ended, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "tensorrt")]
    if std::env::args_os().nth(1).is_some_and(|first| first == "trt-build") {
        return nereid_server::trt_build::main(std::env::args_os().skip(2));
    }
    let (options, warnings) = match cli::parse(std::env::args_os()) {
        Parsed::Run(options, warnings) => (options, warnings),
        Parsed::Help(help) => {
            println!("{help}");
            return ExitCode::SUCCESS;
        }
        Parsed::Error { usage, message } => {
            let format = cli::wanted_log_format(std::env::args_os());
            if format != LogFormat::Json {
                println!("{usage}");
            }
            complain(format, &message);
            return ExitCode::FAILURE;
        }
    };
    let format = options.log.format;
    let log = match logging::init(&options.log) {
        Ok(log) => log,
        Err(e) => {
            complain(format, &format!("error: {e}"));
            return ExitCode::FAILURE;
        }
    };
    tracing::info!("nereid {}, compatible with Triton {TRITON_VERSION}", env!("CARGO_PKG_VERSION"));
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            complain(format, &format!("error: cannot start an event loop: {e}"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(*options, log.clone()));
    runtime.shutdown_background(); // a load that a signal interrupted must not hold the process
    match ended {
        Ok(Ended::Clean) => ExitCode::SUCCESS,
        Ok(Ended::TimedOut) => ExitCode::FAILURE,
        Err(e) => {
            tracing::error!("creating server: {e:#}");
            // As JSON it would be the same record once more.
            if log.format() != LogFormat::Json || !log.shows_errors() {
                complain(log.format(), &format!("error: creating server: {e:#}"));
            }
            ExitCode::FAILURE
        }
    }
}
