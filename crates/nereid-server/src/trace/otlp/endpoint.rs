//! Where the collector is: an URL as users write it. Pure.

use std::fmt;

use http::Uri;
use http::uri::{PathAndQuery, Scheme};

/// Where collectors take traces.
pub(super) const TRACES_PATH: &str = "/v1/traces";

/// An URL of the schemes http and https.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: PathAndQuery,
    /// As it stands in the header `Host`.
    pub(super) authority: String,
}

impl Endpoint {
    /// Reads `text`; as in Triton the scheme may be absent. Without a path it is `default_path`.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub(super) fn parse(text: &str, default_path: &str) -> Result<Self, String> {
        let text = text.trim();
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let wrong = |why: &str| format!("'{text}' is not an URL of a collector: {why}");
        let uri: Uri = whole.parse().map_err(|e: http::uri::InvalidUri| wrong(&e.to_string()))?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(wrong("the scheme must be http or https")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("there is no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("names and passwords belong into OTEL_EXPORTER_OTLP_HEADERS"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("there is no host"));
        }
        let port = match authority.as_str().strip_prefix(authority.host()).unwrap_or_default() {
            "" => {
                if tls {
                    443
                } else {
                    80
                }
            }
            port => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .ok_or_else(|| wrong("the port must be from 0 to 65535"))?,
        };
        let has_path = whole.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?']));
        let path = if has_path { uri.path_and_query().cloned() } else { default_path.parse().ok() };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            path: path.ok_or_else(|| wrong("the path is wrong"))?,
            authority: authority.to_string(),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str, host: &str, port: u16) {
        let endpoint = Endpoint::parse(text, TRACES_PATH).unwrap();
        assert_eq!(
            (endpoint.to_string().as_str(), endpoint.host.as_str(), endpoint.port),
            (expected, host, port)
        );
    }

    #[test]
    fn urls() {
        check("http://localhost:4318/v1/traces", "http://localhost:4318/v1/traces", "localhost", 4318);
        check("localhost:4318/v1/traces", "http://localhost:4318/v1/traces", "localhost", 4318);
        check("collector:4318", "http://collector:4318/v1/traces", "collector", 4318);
        check(" https://a.b ", "https://a.b/v1/traces", "a.b", 443);
        check("http://a/", "http://a/", "a", 80);
        check("http://a/x?tenant=1", "http://a/x?tenant=1", "a", 80);
        check("http://a?tenant=1", "http://a/?tenant=1", "a", 80);
        check("http://[::1]:7/x", "http://[::1]:7/x", "::1", 7);
        check("127.0.0.1:9", "http://127.0.0.1:9/v1/traces", "127.0.0.1", 9);
    }

    #[test]
    fn what_is_none() {
        for (text, why) in [
            ("ftp://a", "the scheme must be http or https"),
            ("grpc://a:4317", "the scheme must be http or https"),
            ("", ""),
            ("http://", ""),
            (":4318", "there is no host"),
            ("http://a:99999", "the port must be from 0 to 65535"),
            ("http://a:x/", ""),
            ("http://me:secret@a/", "names and passwords belong into OTEL_EXPORTER_OTLP_HEADERS"),
            ("http://a b/", ""),
        ] {
            let error = Endpoint::parse(text, TRACES_PATH).unwrap_err();
            assert!(error.starts_with(&format!("'{text}' is not an URL")), "{error}");
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
