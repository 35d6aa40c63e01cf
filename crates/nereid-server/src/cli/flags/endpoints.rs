//! Flags of the endpoints for inference: HTTP, gRPC, SageMaker, Vertex AI.

use std::sync::Arc;

use super::super::options::CompressionLevel;
use super::super::value::{self, Result};
use super::Value::{Boolean, Form, Integer, Text};
use super::{Draft, Flag, is, not_yet, put, ready};
use crate::header_forward::HeaderForward;
use crate::restricted::{Category, Restriction, Restrictions};

pub(super) const HTTP: &[Flag] = &[
    ready(
        "allow-http",
        Boolean,
        "true",
        |d, v| put(&mut d.options.http.enabled, value::boolean(v)),
        "Listen for HTTP requests.",
    ),
    ready(
        "http-address",
        Text,
        "0.0.0.0",
        |d, v| put(&mut d.options.http.address, Ok(v.to_owned())),
        "Address of the HTTP endpoint.",
    ),
    ready(
        "http-port",
        Integer,
        "8000",
        |d, v| put(&mut d.options.http.port, value::integer(v)),
        "Port of the HTTP endpoint; 0 takes any free one.",
    ),
    ready(
        "reuse-http-port",
        Boolean,
        "false",
        |d, v| put(&mut d.options.http.reuse_port, value::boolean(v)),
        "Let several servers that all have this flag listen on the same HTTP port; they must serve the same models.",
    ),
    ready(
        "http-header-forward-pattern",
        Text,
        "",
        |d, v| header_forward(&mut d.options.http.header_forward, v, "http-header-forward-pattern"),
        "Regular expression: headers whose names match, in any case, become parameters of the inference request.",
    ),
    ready(
        "http-thread-count",
        Integer,
        "the CPUs that the process may use",
        http_threads,
        "Threads that handle HTTP requests, each with an event loop of its own.",
    ),
    ready(
        "http-max-input-size",
        Integer,
        "67108864",
        http_max_input_size,
        "Most bytes of a request body, also after decompression.",
    ),
    ready(
        "http-restricted-api",
        Form("string>:<string>=<string"),
        "",
        |d, v| restricted(&mut d.options.http.restrictions, v, &HTTP_RESTRICTED),
        "<apis>:<header>=<value>: requests to these APIs need the header with this value. APIs, separated by commas: \
         health, metadata, inference, shared-memory, model-config, model-repository, statistics, trace, logging.",
    ),
    ready(
        "http-use-ssl",
        Boolean,
        "false",
        |d, v| put(&mut d.options.http.tls.enabled, value::boolean(v)),
        "Serve HTTP with TLS.",
    )
    .own(),
    ready(
        "http-use-ssl-mutual",
        Boolean,
        "false",
        |d, v| put(&mut d.options.http.tls.mutual, value::boolean(v)),
        "Serve HTTP with TLS and refuse clients without a certificate; precedes --http-use-ssl.",
    )
    .own(),
    ready(
        "http-server-cert",
        Text,
        "",
        |d, v| put(&mut d.options.http.tls.certificate, Ok(v.to_owned())),
        "PEM file with the certificate of the server, and those that lead to its root. Read again when it changes.",
    )
    .own(),
    ready(
        "http-server-key",
        Text,
        "",
        |d, v| put(&mut d.options.http.tls.key, Ok(v.to_owned())),
        "PEM file with the private key of the server. Read again when it changes.",
    )
    .own(),
    ready(
        "http-root-cert",
        Text,
        "",
        |d, v| put(&mut d.options.http.tls.roots, Ok(v.to_owned())),
        "PEM file with the certificates that clients are checked against. Read again when it changes.",
    )
    .own(),
    ready(
        "http-max-connection-age",
        Integer,
        "",
        |d, v| put(&mut d.options.http.max_age_ms, positive(v)),
        "Milliseconds, ten percent more or less, after which the next answer ends its connection (Connection: close), so \
         that clients that keep theirs find new servers; 0 for never.",
    )
    .own(),
];

pub(super) const GRPC: &[Flag] = &[
    ready(
        "allow-grpc",
        Boolean,
        "true",
        |d, v| put(&mut d.options.grpc.enabled, value::boolean(v)),
        "Listen for gRPC requests.",
    ),
    ready(
        "grpc-address",
        Text,
        "0.0.0.0",
        |d, v| put(&mut d.options.grpc.address, Ok(v.to_owned())),
        "Address of the gRPC endpoint.",
    ),
    ready(
        "grpc-port",
        Integer,
        "8001",
        |d, v| put(&mut d.options.grpc.port, value::integer(v)),
        "Port of the gRPC endpoint; 0 takes any free one.",
    ),
    ready(
        "reuse-grpc-port",
        Boolean,
        "false",
        |d, v| put(&mut d.options.grpc.reuse_port, value::boolean(v)),
        "Let several servers that all have this flag listen on the same gRPC port; they must serve the same models.",
    ),
    ready(
        "grpc-header-forward-pattern",
        Text,
        "",
        |d, v| header_forward(&mut d.options.grpc.header_forward, v, "grpc-header-forward-pattern"),
        "Regular expression: metadata whose names match, in any case, become parameters of the inference request.",
    ),
    not_yet(
        "grpc-infer-thread-count",
        Integer,
        "2",
        grpc_threads,
        "Threads that handle inference requests, 2 to 128.",
    ),
    not_yet(
        "grpc-infer-allocation-pool-size",
        Integer,
        "8",
        is::integer,
        "Request and response objects that are kept for reuse.",
    ),
    not_yet(
        "grpc-max-response-pool-size",
        Integer,
        "2147483647",
        grpc_response_pool,
        "Most response objects that may wait in the queue of a stream.",
    ),
    ready(
        "grpc-use-ssl",
        Boolean,
        "false",
        |d, v| put(&mut d.options.grpc.tls.enabled, value::boolean(v)),
        "Serve gRPC with TLS.",
    ),
    ready(
        "grpc-use-ssl-mutual",
        Boolean,
        "false",
        |d, v| put(&mut d.options.grpc.tls.mutual, value::boolean(v)),
        "Serve gRPC with TLS and refuse clients without a certificate; precedes --grpc-use-ssl.",
    ),
    ready(
        "grpc-server-cert",
        Text,
        "",
        |d, v| put(&mut d.options.grpc.tls.certificate, Ok(v.to_owned())),
        "PEM file with the certificate of the server, and those that lead to its root. Read again when it changes.",
    ),
    ready(
        "grpc-server-key",
        Text,
        "",
        |d, v| put(&mut d.options.grpc.tls.key, Ok(v.to_owned())),
        "PEM file with the private key of the server. Read again when it changes.",
    ),
    ready(
        "grpc-root-cert",
        Text,
        "",
        |d, v| put(&mut d.options.grpc.tls.roots, Ok(v.to_owned())),
        "PEM file with the certificates that clients are checked against. Read again when it changes.",
    ),
    ready(
        "grpc-infer-response-compression-level",
        Text,
        "none",
        grpc_compression,
        "Compression of inference responses, where the client takes it: none, low (gzip), medium or high (deflate).",
    ),
    ready(
        "grpc-keepalive-time",
        Integer,
        "7200000",
        |d, v| put(&mut d.options.grpc.connections.keepalive_time_ms, at_least_one(v)),
        "Milliseconds without traffic before a keepalive ping. From two hours on, TCP's own keepalive does it.",
    ),
    ready(
        "grpc-keepalive-timeout",
        Integer,
        "20000",
        |d, v| put(&mut d.options.grpc.connections.keepalive_timeout_ms, at_least_one(v)),
        "Milliseconds to wait for the answer to a keepalive ping before the connection is closed.",
    ),
    not_yet(
        "grpc-keepalive-permit-without-calls",
        Boolean,
        "0",
        is::boolean,
        "Send keepalive pings even when no call is in flight. Nereid always does.",
    ),
    not_yet(
        "grpc-http2-max-pings-without-data",
        Integer,
        "2",
        is::integer,
        "Most pings to send without data between them; 0 for no limit. Nereid has no limit.",
    ),
    not_yet(
        "grpc-http2-min-recv-ping-interval-without-data",
        Integer,
        "300000",
        is::integer,
        "Milliseconds that a client must leave between two pings without data; an earlier one is a strike. Nereid \
         answers every ping.",
    ),
    not_yet(
        "grpc-http2-max-ping-strikes",
        Integer,
        "2",
        is::integer,
        "Strikes after which the connection is closed; 0 for no limit. Nereid counts none.",
    ),
    ready(
        "grpc-max-connection-age",
        Integer,
        "",
        |d, v| put(&mut d.options.grpc.connections.max_age_ms, positive(v)),
        "Most milliseconds that a connection may live, ten percent more or less; 0 for no limit.",
    ),
    ready(
        "grpc-max-connection-age-grace",
        Integer,
        "",
        |d, v| put(&mut d.options.grpc.connections.max_age_grace_ms, positive(v)),
        "Milliseconds that calls get to finish when their connection has reached its age; 0 for no limit.",
    ),
    ready(
        "grpc-restricted-protocol",
        Form("string>:<string>=<string"),
        "",
        |d, v| restricted(&mut d.options.grpc.restrictions, v, &GRPC_RESTRICTED),
        "<protocols>:<key>=<value>: calls to these protocols need the metadata triton-grpc-protocol-<key> with this \
         value. The same names as for --http-restricted-api.",
    ),
];

pub(super) const SAGEMAKER: &[Flag] = &[
    not_yet("allow-sagemaker", Boolean, "false", is::boolean, "Listen for SageMaker requests."),
    not_yet("sagemaker-port", Integer, "8080", is::integer, "Port of the SageMaker endpoint."),
    not_yet(
        "sagemaker-safe-port-range",
        Form("integer>-<integer"),
        "",
        |d, v| {
            let (first, last) = value::pair(v, "-")?;
            is::integer(d, first)?;
            is::integer(d, last)
        },
        "Ports that the other endpoints may have.",
    ),
    not_yet("sagemaker-thread-count", Integer, "8", is::integer, "Threads that handle SageMaker requests."),
];

pub(super) const VERTEX: &[Flag] = &[
    not_yet(
        "allow-vertex-ai",
        Boolean,
        "true where AIP_MODE is PREDICTION, else false",
        is::boolean,
        "Listen for Vertex AI requests.",
    ),
    not_yet(
        "vertex-ai-port",
        Integer,
        "AIP_HTTP_PORT or 8080",
        is::integer,
        "Port of the Vertex AI endpoint.",
    ),
    not_yet("vertex-ai-thread-count", Integer, "8", is::integer, "Threads that handle Vertex AI requests."),
    not_yet("vertex-ai-default-model", Text, "", is::anything, "Model that requests without a model go to."),
];

fn http_threads(draft: &mut Draft, text: &str) -> Result<()> {
    let threads: i32 = value::integer(text)?;
    draft.options.http.threads = usize::try_from(threads)
        .ok()
        .filter(|n| *n > 0)
        .ok_or("Error: --http-thread-count must be greater than 0.")?;
    Ok(())
}

fn http_max_input_size(draft: &mut Draft, text: &str) -> Result<()> {
    let size: i64 = value::integer(text)?;
    draft.options.http.max_input_size = usize::try_from(size)
        .ok()
        .filter(|n| *n > 0)
        .ok_or("Error: --http-max-input-size must be greater than 0.")?;
    Ok(())
}

fn header_forward(place: &mut Option<Arc<HeaderForward>>, pattern: &str, flag: &str) -> Result<()> {
    let forward = HeaderForward::new(pattern).map_err(|e| format!("invalid argument for --{flag}: {e}"))?;
    *place = Some(Arc::new(forward));
    Ok(())
}

fn grpc_threads(_: &mut Draft, text: &str) -> Result<()> {
    let range = "invalid argument for --grpc_infer_thread_count. Must be in the range 2 to 128.";
    if (2..=128).contains(&value::integer::<i32>(text)?) { Ok(()) } else { Err(range.to_owned()) }
}

fn grpc_response_pool(_: &mut Draft, text: &str) -> Result<()> {
    let positive = "Error: --grpc-max-response-pool-size must be greater than 0.";
    if value::integer::<i32>(text)? > 0 { Ok(()) } else { Err(positive.to_owned()) }
}

/// What `--http-restricted-api` and `--grpc-restricted-protocol` differ in.
struct Restricted {
    flag: &'static str,
    /// What messages call the thing.
    kind: &'static str,
    /// What stands before the header's name on the wire.
    prefix: &'static str,
}

const HTTP_RESTRICTED: Restricted = Restricted { flag: "http-restricted-api", kind: "api", prefix: "" };
const GRPC_RESTRICTED: Restricted =
    Restricted { flag: "grpc-restricted-protocol", kind: "protocol", prefix: "triton-grpc-protocol-" };

fn restricted(restrictions: &mut Restrictions, text: &str, of: &Restricted) -> Result<()> {
    let Restricted { flag, kind, prefix } = of;
    let (names, key, value) = value::full_setting(text, flag, "config name", ':')?;
    let restriction = Restriction::new(&format!("{prefix}{key}"), value).map_err(|_| {
        format!("restricted {kind} header '{prefix}{key}' is not a name that a header can have")
    })?;
    let restriction = Arc::new(restriction);
    for name in names.split(',') {
        let category =
            Category::from_name(name).ok_or_else(|| format!("unknown restricted {kind} '{name}'"))?;
        if !restrictions.insert(category, restriction.clone()) {
            return Err(format!("restricted {kind} '{name}' can not be specified in multiple config groups"));
        }
    }
    Ok(())
}

fn grpc_compression(draft: &mut Draft, text: &str) -> Result<()> {
    use CompressionLevel::{High, Low, Medium, None};
    let wrong = "invalid argument for --grpc_infer_response_compression_level";
    let level = match value::choice(text, &["none", "low", "medium", "high"], wrong)? {
        "low" => Low,
        "medium" => Medium,
        "high" => High,
        _ => None,
    };
    draft.options.grpc.compression = level;
    Ok(())
}

/// Milliseconds; gRPC takes less than one for one.
fn at_least_one(text: &str) -> Result<u32> {
    Ok(value::integer::<i32>(text)?.max(1).unsigned_abs())
}

/// Milliseconds, of which zero and less mean none at all, as in Triton (`grpc_server.cc`, `KeepAliveOptions`).
fn positive(text: &str) -> Result<Option<u32>> {
    Ok(u32::try_from(value::integer::<i32>(text)?).ok().filter(|ms| *ms > 0))
}
