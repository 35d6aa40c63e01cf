//! Asks the started server how it is: one HTTP request per connection, and only what `serve` needs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A model in the repository index.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) name: String,
    pub(crate) version: String,
    /// `READY`, `UNAVAILABLE`, … or empty for a model that was never loaded.
    pub(crate) state: String,
    pub(crate) reason: String,
}

/// Whether `path` answers 200.
pub(crate) fn is_ok(port: u16, path: &str) -> bool {
    exchange(port, "GET", path).is_ok_and(|(status, _)| status == 200)
}

/// What the server says about its models.
pub(crate) fn index(port: u16) -> anyhow::Result<Vec<IndexEntry>> {
    let (status, body) = exchange(port, "POST", "/v2/repository/index")?;
    anyhow::ensure!(status == 200, "the repository index answers {status}: {body}");
    parse_index(&body)
}

fn parse_index(body: &str) -> anyhow::Result<Vec<IndexEntry>> {
    let entries: Vec<serde_json::Value> = serde_json::from_str(body)?;
    let text = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let entry = |e: &serde_json::Value| IndexEntry {
        name: text(e, "name"),
        version: text(e, "version"),
        state: text(e, "state"),
        reason: text(e, "reason"),
    };
    Ok(entries.iter().map(entry).collect())
}

fn exchange(port: u16, method: &str, path: &str) -> std::io::Result<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse_answer(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| std::io::Error::other("the answer is not HTTP: is this the HTTP port?"))
}

fn parse_answer(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        assert_eq!(parse_answer("HTTP/1.1 200 OK\r\nA: b\r\n\r\n[]"), Some((200, "[]".into())));
        assert_eq!(parse_answer("HTTP/1.1 400 Bad Request\r\n\r\n"), Some((400, String::new())));
        assert_eq!(parse_answer("SSH-2.0-x\r\n\r\n"), None);
    }

    #[test]
    fn the_index_is_read_with_and_without_state() {
        let body = r#"[{"name":"a","version":"1","state":"READY"},{"name":"b"}]"#;
        let index = parse_index(body).unwrap();
        assert_eq!((index[0].name.as_str(), index[0].state.as_str()), ("a", "READY"));
        assert_eq!((index[1].name.as_str(), index[1].state.as_str()), ("b", ""));
    }
}
