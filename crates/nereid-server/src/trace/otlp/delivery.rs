//! Sends batches one after the other, each again for a while where the collector says "later" or does not answer. What is
//! lost is counted and said in the log, at most once a minute.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::batches::Queue;
use super::client::{Client, Reply};
use super::message::{
    ExportRequest, ExportResponse, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span,
};
use super::options::OtlpOptions;

/// Triton's name for what makes its spans.
const TRACER: &str = "triton-server";
/// Before the second attempt; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How often the log speaks of losses.
const SAY_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Delivery {
    options: OtlpOptions,
    resource: Resource,
    client: Client,
    queue: Arc<Queue>,
    /// True once the server is about to end.
    finish: watch::Receiver<bool>,
    losses: Losses,
}

/// What was lost and not yet said.
#[derive(Default)]
struct Losses {
    spans: u64,
    reason: String,
    overflown: u64,
    said: Option<Instant>,
}

impl Delivery {
    /// # Errors
    /// Certificates cannot be read.
    pub(super) fn new(
        options: OtlpOptions,
        queue: Arc<Queue>,
        finish: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let attributes = options.resource.iter().map(|(key, value)| KeyValue::text(key, value)).collect();
        let (resource, client) = (Resource { attributes }, Client::new(&options)?);
        Ok(Self { options, resource, client, queue, finish, losses: Losses::default() })
    }

    /// Sends what comes, until nothing more does.
    pub(super) async fn run(mut self, mut batches: mpsc::Receiver<Vec<Span>>) {
        while let Some(batch) = batches.recv().await {
            let count = batch.len();
            match self.deliver(batch).await {
                Ok(None) => {}
                Ok(Some((rejected, reason))) => self.losses.add(rejected, reason),
                Err(reason) => self.losses.add(count as u64, reason),
            }
            self.queue.release(count);
            self.losses.overflown += self.queue.take_dropped();
            self.losses.say(&self.options, false);
        }
        self.losses.say(&self.options, true);
    }

    /// Delivers one batch; tells how many of its spans the collector did not want, and why.
    ///
    /// # Errors
    /// Why all of it is lost.
    async fn deliver(&mut self, batch: Vec<Span>) -> Result<Option<(u64, String)>, String> {
        let body = self.body(batch);
        let deadline = Instant::now() + self.options.timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            let last = *self.finish.borrow();
            let (reason, wish) = match timeout_at(deadline, self.client.post(body.clone())).await {
                Err(_) => return Err(format!("no answer within {} ms", self.options.timeout.as_millis())),
                Ok(Ok(reply)) if reply.status.is_success() => return Ok(rejected(&reply)),
                Ok(Ok(reply)) if !is_passing(&reply) => return Err(said(&reply)),
                Ok(Ok(reply)) => (said(&reply), reply.retry_after),
                Ok(Err(reason)) => (reason, None),
            };
            let wait = wish.unwrap_or(pause);
            if last || Instant::now() + wait >= deadline {
                return Err(reason);
            }
            pause *= 2;
            tokio::select! {
                () = sleep(wait) => {}
                _ = self.finish.wait_for(|finish| *finish) => {} // tries once more
            }
        }
    }

    fn body(&self, spans: Vec<Span>) -> Bytes {
        let scope = Some(Scope { name: TRACER.to_owned(), version: String::new() });
        let scope_spans = vec![ScopeSpans { scope, spans }];
        let resource_spans = vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans }];
        let body = ExportRequest { resource_spans }.encode_to_vec();
        if !self.options.gzip {
            return body.into();
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let written = encoder.write_all(&body).and_then(|()| encoder.finish());
        written.expect("writing to memory").into()
    }
}

/// Whether the same may be sent again later, by the words of the protocol.
fn is_passing(reply: &Reply) -> bool {
    matches!(reply.status.as_u16(), 429 | 502 | 503 | 504)
}

fn rejected(reply: &Reply) -> Option<(u64, String)> {
    let partial = ExportResponse::decode(reply.body.clone()).ok()?.partial_success?;
    let rejected = u64::try_from(partial.rejected_spans).ok().filter(|rejected| *rejected > 0)?;
    Some((rejected, format!("the collector rejected them: {}", printable(partial.error_message.as_bytes()))))
}

fn said(reply: &Reply) -> String {
    match printable(&reply.body) {
        text if text.is_empty() => format!("the collector answered {}", reply.status),
        text => format!("the collector answered {}: {text}", reply.status),
    }
}

/// The start of a text of the collector's, on one line.
fn printable(text: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(text);
    let plain = text.chars().map(|c| if c.is_control() || c == '\u{fffd}' { ' ' } else { c });
    plain.take(MOST).collect::<String>().trim().to_owned()
}

impl Losses {
    fn add(&mut self, spans: u64, reason: String) {
        self.spans += spans;
        self.reason = reason;
    }

    fn say(&mut self, options: &OtlpOptions, last: bool) {
        let quiet = self.said.is_some_and(|said| said.elapsed() < SAY_EVERY);
        if (self.spans == 0 && self.overflown == 0) || (quiet && !last) {
            return;
        }
        if self.spans > 0 {
            tracing::warn!(
                "{} spans of traces were lost at {}: {}",
                self.spans,
                options.endpoint,
                self.reason
            );
        }
        if self.overflown > 0 {
            let (overflown, most) = (self.overflown, options.max_queue_size);
            tracing::warn!("{overflown} spans of traces were dropped: more than {most} were waiting");
        }
        *self = Self { said: Some(Instant::now()), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::message::PartialSuccess;
    use super::*;

    fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
        Reply { status: StatusCode::from_u16(status).unwrap(), retry_after: None, body: body.into() }
    }

    fn partly(rejected_spans: i64, error_message: &str) -> Reply {
        let partial_success =
            Some(PartialSuccess { rejected_spans, error_message: error_message.to_owned() });
        reply(200, ExportResponse { partial_success }.encode_to_vec())
    }

    #[test]
    fn what_collectors_say() {
        for (reply, expected) in [
            (reply(200, ""), None),
            (reply(200, "no message of the protocol"), None),
            (partly(0, "a warning"), None),
            (partly(-1, ""), None),
            (partly(7, "no\n room"), Some((7, "the collector rejected them: no  room".to_owned()))),
        ] {
            assert_eq!(rejected(&reply), expected, "{reply:?}");
        }
        for (reply, passing, expected) in [
            (reply(503, ""), true, "the collector answered 503 Service Unavailable"),
            (reply(429, "\x08\x08\x12\x04slow"), true, "the collector answered 429 Too Many Requests: slow"),
            (reply(500, " x "), false, "the collector answered 500 Internal Server Error: x"),
            (reply(404, &b"\xff\n"[..]), false, "the collector answered 404 Not Found"),
        ] {
            assert_eq!((is_passing(&reply), said(&reply).as_str()), (passing, expected));
        }
        let long = said(&reply(400, "x".repeat(10_000)));
        assert_eq!(long.len(), "the collector answered 400 Bad Request: ".len() + 200);
    }

    #[test]
    fn losses_are_said_once_a_minute_and_at_the_end() {
        let (mut losses, options) = (Losses::default(), OtlpOptions::default());
        losses.say(&options, true);
        assert!(losses.said.is_none(), "nothing is lost");
        losses.add(3, "x".to_owned());
        losses.say(&options, false);
        assert!(losses.said.is_some() && losses.spans == 0);
        losses.add(3, "x".to_owned());
        losses.add(4, "y".to_owned());
        losses.overflown += 1;
        losses.say(&options, false);
        assert_eq!(
            (losses.spans, losses.reason.as_str(), losses.overflown),
            (7, "y", 1),
            "not again so soon"
        );
        losses.say(&options, true);
        assert_eq!((losses.spans, losses.overflown), (0, 0));
    }
}
