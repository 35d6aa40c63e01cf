//! TLS of one port: a certificate, its key and, for mutual TLS, the certificates that clients are checked
//! against, all from PEM files. They are read at start, and again when they change on disk, as Kubernetes
//! renews secrets; what cannot be used leaves the old ones in place. Does not know what is spoken inside.

use std::fmt::{self, Display};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use arc_swap::ArcSwap;
use nereid_core::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::Protocol;

/// How long a client may take for the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// The files are looked at when a client connects, at most this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files that make up the identity of a port.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate, followed by those that lead to its root.
    pub certificate: PemFile,
    pub key: PemFile,
    /// Mutual TLS: clients must show a certificate that one of these has signed.
    pub client_roots: Option<PemFile>,
}

/// A PEM file and the flag that named it.
#[derive(Debug, Clone)]
pub struct PemFile {
    /// With its dashes.
    pub flag: String,
    pub path: String,
}

/// Why files cannot be used: names the flag and the path.
#[derive(Debug)]
pub struct TlsError(String);

impl Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// The TLS side of a port.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    protocol: Protocol,
    config: ArcSwap<ServerConfig>,
    /// The files as they were when they were last read.
    seen: Mutex<[Option<Stamp>; 3]>,
    /// When they were last looked at, as [`Timestamp::as_ns`].
    looked_ns: AtomicU64,
}

/// What changes when a file is written or replaced: inode, modification time in seconds and nanoseconds, length.
type Stamp = (u64, i64, i64, u64);

impl Tls {
    /// Reads the files. Clients are offered `protocol` by ALPN; one that does not ask is taken at its word.
    ///
    /// # Errors
    /// A file is missing, unreadable or without what it should hold, or key and certificate do not match.
    pub fn load(files: TlsFiles, protocol: Protocol) -> Result<Self, TlsError> {
        let seen = Mutex::new(files.stamps());
        let config = ArcSwap::from_pointee(files.config(protocol)?);
        let looked_ns = AtomicU64::new(Timestamp::now().as_ns());
        Ok(Self { files, protocol, config, seen, looked_ns })
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// The client does not speak TLS, has no certificate that is accepted, or takes too long.
    pub(super) async fn accept<S>(self: &Arc<Self>, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.is_due() {
            let tls = self.clone();
            // A panic leaves the configuration as it is, and is logged by its hook.
            let _ = tokio::task::spawn_blocking(move || tls.refresh()).await;
        }
        let handshake = TlsAcceptor::from(self.config.load_full()).accept(stream);
        tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await?
    }

    /// Whether it is time to look at the files; true for one caller only.
    fn is_due(&self) -> bool {
        let (now, looked) = (Timestamp::now(), self.looked_ns.load(Relaxed));
        now.since(Timestamp::from_ns(looked)) >= LOOK_EVERY
            && self.looked_ns.compare_exchange(looked, now.as_ns(), Relaxed, Relaxed).is_ok()
    }

    /// Reads the files again if they are not those that were read last.
    fn refresh(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.files.stamps();
        if *seen == stamps {
            return;
        }
        *seen = stamps;
        let certificate = &self.files.certificate;
        match self.files.config(self.protocol) {
            Ok(config) => {
                self.config.store(Arc::new(config));
                tracing::info!("read the renewed certificate of {} {}", certificate.flag, certificate.path);
            }
            Err(e) => tracing::warn!("keeping the certificate that was read before: {e}"),
        }
    }
}

impl TlsFiles {
    fn config(&self, protocol: Protocol) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let certificates = self.certificate.certificates()?;
        let key = self.key.key()?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| self.certificate.error(e))?;
        let builder = match &self.client_roots {
            None => builder.with_no_client_auth(),
            Some(file) => builder.with_client_cert_verifier(file.verifier(provider)?),
        };
        let mut config = builder.with_single_cert(certificates, key).map_err(|e| self.mismatch(&e))?;
        config.alpn_protocols = vec![protocol.alpn().to_vec()];
        Ok(config)
    }

    fn mismatch(&self, error: &rustls::Error) -> TlsError {
        let PemFile { flag, path } = &self.certificate;
        self.key.error(format!("cannot be used with {flag} {path}: {error}"))
    }

    fn stamps(&self) -> [Option<Stamp>; 3] {
        let stamp = |file: &PemFile| {
            let data = fs::metadata(&file.path).ok()?; // of the target, where the path is a symbolic link
            Some((data.ino(), data.mtime(), data.mtime_nsec(), data.len()))
        };
        [stamp(&self.certificate), stamp(&self.key), self.client_roots.as_ref().and_then(stamp)]
    }
}

impl PemFile {
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let data = self.read()?;
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(&data).collect::<Result<_, _>>().map_err(|e| self.broken(&e))?;
        if certificates.is_empty() { Err(self.error("holds no certificate")) } else { Ok(certificates) }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|e| match e {
            pem::Error::NoItemsFound => self.error("holds no private key that is not encrypted"),
            e => self.broken(&e),
        })
    }

    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|e| self.error(e))?;
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|e| self.error(e))
    }

    fn read(&self) -> Result<Vec<u8>, TlsError> {
        if self.path.is_empty() {
            return Err(TlsError(format!("{} is needed for TLS and was not given", self.flag)));
        }
        fs::read(&self.path).map_err(|e| self.error(format!("cannot be read: {e}")))
    }

    fn broken(&self, error: &pem::Error) -> TlsError {
        self.error(format!("is not valid PEM: {error}"))
    }

    fn error(&self, what: impl Display) -> TlsError {
        TlsError(format!("{} {}: {what}", self.flag, self.path))
    }
}
