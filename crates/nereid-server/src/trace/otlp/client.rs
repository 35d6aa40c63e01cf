//! One connection to the collector, kept open from one request to the next. Does not know what it carries.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::endpoint::Endpoint;
use super::options::OtlpOptions;

/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Where Linux distributions keep the certificates that they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What the collector answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// How long it asks to wait.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// See above.
pub(super) struct Client {
    endpoint: Endpoint,
    headers: HeaderMap,
    tls: Option<TlsConnector>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// Connects with the first request.
    ///
    /// # Errors
    /// TLS is asked for, and certificates to trust cannot be read.
    pub(super) fn new(options: &OtlpOptions) -> io::Result<Self> {
        let mut headers = options.headers.clone();
        let host = HeaderValue::from_str(&options.endpoint.authority).map_err(io::Error::other)?;
        headers.insert(header::HOST, host);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let ours = HeaderValue::from_static(concat!("nereid/", env!("CARGO_PKG_VERSION")));
        headers.insert(header::USER_AGENT, ours);
        if options.gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let tls = options.endpoint.tls.then(|| connector(options.certificate.as_deref())).transpose()?;
        Ok(Self { endpoint: options.endpoint.clone(), headers, tls, connection: None })
    }

    /// Posts `body`. Dropping the future closes the connection.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(super) async fn post(&mut self, body: Bytes) -> Result<Reply, String> {
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
            && let Ok(reply) = self.send(connection, body.clone()).await
        {
            return Ok(reply);
        }
        // The collector closes what is idle; a connection of its own tells whether it is there.
        let connection = self.connect().await.map_err(|e| format!("cannot connect: {e}"))?;
        self.send(connection, body).await.map_err(|e| e.to_string())
    }

    async fn send(&mut self, mut connection: SendRequest<Full<Bytes>>, body: Bytes) -> hyper::Result<Reply> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.path.clone().into();
        request.headers_mut().clone_from(&self.headers);
        let (parts, body) = connection.send_request(request).await?.into_parts();
        // An answer that is too long or cut off says what it says by its status.
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        if body.is_ok() {
            self.connection = Some(connection);
        }
        let seconds =
            parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        Ok(Reply {
            status: parts.status,
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds.into())),
            body: body.map(|body| body.to_bytes()).unwrap_or_default(),
        })
    }

    async fn connect(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => handshake(TokioIo::new(stream)).await,
            Some(tls) => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                handshake(TokioIo::new(tls.connect(name, stream).await?)).await
            }
        }
    }
}

async fn handshake<T>(stream: T) -> io::Result<SendRequest<Full<Bytes>>>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    // Ends with the sender; what goes wrong is told to whoever waits for an answer.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// TLS that trusts the certificates of `file`, or those of the system.
fn connector(file: Option<&str>) -> io::Result<TlsConnector> {
    let from_environment = std::env::var("SSL_CERT_FILE").ok();
    let named = file.map(str::to_owned).or(from_environment);
    let system = || SYSTEM_ROOTS.iter().find(|path| std::path::Path::new(path).exists());
    let path = named.or_else(|| system().map(|path| (*path).to_owned())).ok_or_else(|| {
        io::Error::other("no certificates to trust: name a PEM file in OTEL_EXPORTER_OTLP_CERTIFICATE")
    })?;
    let error = |why: &dyn std::fmt::Display| io::Error::other(format!("certificates of '{path}': {why}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&path).map_err(|e| error(&e))? {
        // The system has some that are too old to be understood.
        let _ = roots.add(certificate.map_err(|e| error(&e))?);
    }
    if roots.is_empty() {
        return Err(error(&"there are none"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
