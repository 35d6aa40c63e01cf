//! From options to how the connections of each port are served: TLS, keepalive, age. Reads the certificates, opens
//! no port.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::{ConnectionOptions, Options, TlsOptions};
use crate::serve::{Lifetime, PemFile, Ping, Protocol, ServeOptions, TCP_KEEPALIVE, Tls, TlsError, TlsFiles};

/// How the connections of each port are served. The metrics port is plain text, as scrapers expect it.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) http: ServeOptions,
    pub(crate) grpc: ServeOptions,
}

/// What `options` asks for.
///
/// # Errors
/// A certificate or key cannot be used.
pub(crate) fn of(options: &Options) -> Result<Transport, TlsError> {
    let (http, grpc) = (&options.http, &options.grpc);
    Ok(Transport {
        http: ServeOptions {
            protocol: Protocol::Http1,
            tls: tls(&http.tls, http.enabled, "http", Protocol::Http1)?,
            lifetime: Lifetime { max_age: http.max_age_ms.map(ms), ..Lifetime::default() },
        },
        grpc: ServeOptions {
            protocol: Protocol::Http2,
            tls: tls(&grpc.tls, grpc.enabled, "grpc", Protocol::Http2)?,
            lifetime: lifetime(&grpc.connections),
        },
    })
}

fn tls(
    options: &TlsOptions,
    enabled: bool,
    endpoint: &str,
    protocol: Protocol,
) -> Result<Option<Arc<Tls>>, TlsError> {
    if !enabled || !options.wanted() {
        return Ok(None);
    }
    let file =
        |what: &str, path: &str| PemFile { flag: format!("--{endpoint}-{what}"), path: path.to_owned() };
    if !options.mutual && !options.roots.is_empty() {
        tracing::warn!(
            "--{endpoint}-root-cert has no effect without --{endpoint}-use-ssl-mutual: every client is taken"
        );
    }
    let files = TlsFiles {
        certificate: file("server-cert", &options.certificate),
        key: file("server-key", &options.key),
        client_roots: options.mutual.then(|| file("root-cert", &options.roots)),
    };
    Tls::load(files, protocol).map(Arc::new).map(Some)
}

/// Pings cost a lock for each frame. As rare as TCP's own keepalive they are left to it.
fn lifetime(options: &ConnectionOptions) -> Lifetime {
    let ping = Ping { interval: ms(options.keepalive_time_ms), timeout: ms(options.keepalive_timeout_ms) };
    Lifetime {
        ping: Some(ping).filter(|ping| ping.interval < TCP_KEEPALIVE),
        max_age: options.max_age_ms.map(ms),
        grace: options.max_age_grace_ms.map(ms),
    }
}

fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}
