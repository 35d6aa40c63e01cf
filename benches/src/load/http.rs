//! HTTP/1.1 over non-blocking sockets and one epoll loop: a `write` and a `read` per request.
//!
//! Not a general client: it wants `200`, a `Content-Length`, and kept-alive connections.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use nereid_core::Timestamp;

use super::{Load, PATIENCE, element};
use crate::latencies::Latencies;
use crate::model::Sample;

/// Kept-alive connections with one request in flight each.
#[derive(Debug)]
pub(super) struct Connections {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    request: Vec<u8>,
    /// Where in the request its input starts, and how many were sent, if each is to be distinct.
    distinct: Option<(usize, u32)>,
    sample: Sample,
    first_checked: bool,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// A request is sent, or being sent, and its answer is not there yet.
    busy: bool,
    sent_at: Timestamp,
    /// Bytes of the request that are written.
    written: usize,
    buffer: Vec<u8>,
    /// Bytes of the answer that are read.
    filled: usize,
    answer: Option<Answer>,
}

/// What the head of an answer says about its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    body_start: usize,
    body_end: usize,
    /// `Inference-Header-Content-Length`; without it the whole body is JSON.
    json_length: usize,
}

impl Connections {
    /// Connects `load.in_flight` times, uses every connection once, and checks the first answer.
    pub(super) fn open(address: SocketAddr, load: Load, sample: &Sample) -> Result<Self> {
        let poll = Poll::new()?;
        let connect = |index| -> Result<Connection> {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            Ok(Connection {
                stream,
                busy: false,
                sent_at: Timestamp::now(),
                written: 0,
                buffer: vec![0; 16 * 1024],
                filled: 0,
                answer: None,
            })
        };
        let connections = (0..load.in_flight).map(connect).collect::<Result<Vec<_>>>();
        let request = sample.http_request(&address.to_string());
        let distinct = load.distinct.then(|| (request.len() - sample.input_bytes().len(), 0));
        let mut this = Self {
            connections: connections.with_context(|| format!("cannot connect to {address}"))?,
            poll,
            events: Events::with_capacity(load.in_flight.max(1)),
            request,
            distinct,
            sample: sample.clone(),
            first_checked: false,
        };
        this.run(Duration::ZERO)?;
        Ok(this)
    }

    /// Keeps every connection busy for `duration`, then drains. Gives latencies and the time it took.
    pub(super) fn run(&mut self, duration: Duration) -> Result<(Latencies, Duration)> {
        let mut latencies = Latencies::default();
        let start = Timestamp::now();
        let deadline = start.plus_us(duration.as_micros() as u64);
        for connection in &mut self.connections {
            vary(&mut self.request, &mut self.distinct);
            connection.start(&self.request, Timestamp::now())?;
        }
        let mut in_flight = self.connections.len();
        while in_flight > 0 {
            match self.poll.poll(&mut self.events, Some(PATIENCE)) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            ensure!(!self.events.is_empty(), "no answer within {} s", PATIENCE.as_secs());
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                // The last piece of an answer may raise its edge after it was read. Should an idle
                // connection have been closed, the next request finds out.
                if !connection.busy {
                    continue;
                }
                if event.is_writable() && connection.written < self.request.len() {
                    connection.write(&self.request)?;
                }
                if !event.is_readable() {
                    continue;
                }
                let Some(answer) = connection.read()? else { continue };
                let now = Timestamp::now();
                latencies.record(now.ns_since(connection.sent_at));
                if !self.first_checked {
                    let body = &connection.buffer[answer.body_start..answer.body_end];
                    self.sample.check_http(body, answer.json_length)?;
                    self.first_checked = true;
                }
                if now < deadline {
                    vary(&mut self.request, &mut self.distinct);
                    connection.start(&self.request, now)?;
                } else {
                    connection.busy = false;
                    in_flight -= 1;
                }
            }
        }
        Ok((latencies, Timestamp::now().since(start)))
    }
}

/// Gives `request` another input than it ever had. A request that is only half written goes on with that of the next
/// one, which is as good.
fn vary(request: &mut [u8], distinct: &mut Option<(usize, u32)>) {
    if let Some((start, sent)) = distinct {
        request[*start..*start + 4].copy_from_slice(&element(*sent));
        *sent = sent.wrapping_add(1);
    }
}

impl Connection {
    fn start(&mut self, request: &[u8], now: Timestamp) -> Result<()> {
        (self.busy, self.sent_at, self.written, self.filled, self.answer) = (true, now, 0, 0, None);
        self.write(request)
    }

    fn write(&mut self, request: &[u8]) -> Result<()> {
        while self.written < request.len() {
            match self.stream.write(&request[self.written..]) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e).context("the server does not take the request"),
            }
        }
        Ok(())
    }

    /// Reads what there is; the answer once it is whole. A short read means that the socket is empty,
    /// so there is no second `read` to hear so: more data raises a new edge.
    fn read(&mut self) -> Result<Option<Answer>> {
        loop {
            match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => bail!("the server closed the connection after {} bytes of its answer", self.filled),
                Ok(n) => self.filled += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).context("the server does not answer"),
            }
            if self.answer.is_none() {
                self.answer = parse_head(&self.buffer[..self.filled])?;
            }
            if let Some(answer) = self.answer {
                ensure!(self.filled <= answer.body_end, "the server sent more than its Content-Length");
                if self.filled == answer.body_end {
                    return Ok(Some(answer));
                }
                if self.buffer.len() < answer.body_end {
                    self.buffer.resize(answer.body_end, 0);
                }
            } else {
                ensure!(
                    self.filled < self.buffer.len(),
                    "the head of the answer is longer than {} bytes",
                    self.filled
                );
            }
        }
    }
}

/// The head of an answer, if `bytes` hold all of it.
fn parse_head(bytes: &[u8]) -> Result<Option<Answer>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let body_start = end + 4;
    let text = std::str::from_utf8(&bytes[..end]).context("the head of the answer is not text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        let body = String::from_utf8_lossy(&bytes[body_start..]);
        bail!("the server answered '{status}': {}", body.chars().take(500).collect::<String>());
    }
    let (mut length, mut json_length) = (None, None);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let number = || value.trim().parse::<usize>().with_context(|| format!("bad header '{line}'"));
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(number()?);
        } else if name.eq_ignore_ascii_case("inference-header-content-length") {
            json_length = Some(number()?);
        }
    }
    let length = length.context("the answer has no Content-Length")?;
    ensure!(length < 1 << 30, "an answer of {length} bytes is more than a bench expects");
    Ok(Some(Answer { body_start, body_end: body_start + length, json_length: json_length.unwrap_or(length) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let good = "HTTP/1.1 200 OK\r\ncontent-LENGTH: 7\r\nInference-Header-Content-Length: 3\r\n\r\n";
        let start = good.len();
        let answer = Answer { body_start: start, body_end: start + 7, json_length: 3 };
        assert_eq!(parse_head(format!("{good}abc").as_bytes()).unwrap(), Some(answer));
        for cut in 0..start {
            assert_eq!(parse_head(&good.as_bytes()[..cut]).unwrap(), None, "{cut}");
        }
        for (head, expected) in [
            ("HTTP/1.1 400 Bad Request\r\n\r\n{\"error\":\"x\"}", "400 Bad Request': {\"error\":\"x\"}"),
            ("HTTP/1.1 200 OK\r\n\r\n", "no Content-Length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "bad header"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n", "more than a bench expects"),
        ] {
            let error = parse_head(head.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{head:?} gave {error:?}");
        }
    }
}
