//! What can be judged only when all flags are known: flags that need or exclude one another.

use nereid_repository::ReadyWhen;

use super::options::{ModelControlMode, Options};
use super::value::Result;

/// Refuses combinations that Triton refuses, with its texts, which name no flag of their own.
pub(super) fn combinations(options: &Options) -> Result<()> {
    let repository = &options.repository;
    if !repository.load_models.is_empty() && repository.control_mode != ModelControlMode::Explicit {
        return Err("Error: Use of '--load-model' requires setting '--model-control-mode=explicit' as well."
            .to_owned());
    }
    // These two are errors of server creation in Triton (`server.cc`, `model_repository_manager.cc`).
    if repository.paths.is_empty() {
        return Err("--model-repository must be specified: the folder with the models, such as \
                    --model-repository=/models"
            .to_owned());
    }
    if repository.load_models.len() > 1 && repository.load_models.contains("*") {
        return Err("Wildcard model name '*' must be the ONLY startup model if specified at all.".to_owned());
    }
    ports(options)
}

/// What two flags that speak of the same thing mean together.
pub(super) fn readiness(strict: Option<bool>, when: Option<ReadyWhen>) -> Result<ReadyWhen> {
    match (strict, when) {
        (None | Some(true), None) => Ok(ReadyWhen::All),
        (None | Some(false), Some(ReadyWhen::Server)) | (Some(false), None) => Ok(ReadyWhen::Server),
        (None | Some(true), Some(when)) if when != ReadyWhen::Server => Ok(when),
        _ => {
            Err("--strict-readiness and --ready-when contradict each other: --strict-readiness=false means \
                  --ready-when=server, --strict-readiness=true any other value of it."
                .to_owned())
        }
    }
}

/// Two endpoints cannot share an address and a port; any number of them may take a free one (port 0).
fn ports(options: &Options) -> Result<()> {
    let Options { http, grpc, metrics, .. } = options;
    let all = [
        ("HTTP", http.enabled, &http.address, http.port),
        ("GRPC", grpc.enabled, &grpc.address, grpc.port),
        ("metrics", metrics.enabled, &metrics.address, metrics.port),
    ];
    let enabled: Vec<_> = all.into_iter().filter(|(_, enabled, _, port)| *enabled && *port != 0).collect();
    for (i, (first, _, address, port)) in enabled.iter().enumerate() {
        for (second, _, other_address, other_port) in &enabled[i + 1..] {
            if address == other_address && port == other_port {
                return Err(format!(
                    "The server cannot listen to {first} requests and {second} requests at the same address and \
                     port {address}:{port}"
                ));
            }
        }
    }
    Ok(())
}
