//! What stands around the answers of a connection while they are logged: it begins the line of a request, and ends it
//! when the body of the answer has been handed to the connection, or is dropped.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::Either;
use http::{HeaderMap, Request};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use nereid_protocol::rest::Json;
use tonic::Status;
use tower::Service;

use super::calls::{Call, STREAM};
use super::log::AccessLog;
use super::request::Access;
use crate::serve::{HttpService, Protocol};

const BROKEN_OFF: &str = "the client went while the answer was sent";

/// Logs the requests of one connection.
#[derive(Debug, Clone)]
pub struct Logged<S> {
    service: S,
    connection: Arc<Connection>,
}

#[derive(Debug)]
struct Connection {
    log: AccessLog,
    protocol: Protocol,
    client: Option<SocketAddr>,
}

type Boxed = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl<S> Logged<S> {
    pub(super) fn new(service: S, log: AccessLog, protocol: Protocol, client: Option<SocketAddr>) -> Self {
        Self { service, connection: Arc::new(Connection { log, protocol, client }) }
    }
}

impl<S: HttpService> Service<Request<Incoming>> for Logged<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Boxed>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if !self.connection.log.is_on() {
            return Either::Left(self.service.call(request));
        }
        let (access, request) = self.connection.begin(request);
        let protocol = self.connection.protocol;
        let answer = self.service.call(request);
        Either::Right(Box::pin(
            async move { answer.await.map(|answer| until_sent(answer, protocol, access)) },
        ))
    }
}

impl Connection {
    /// Begins the line of `request`, and leaves word of it for those who answer.
    fn begin<B>(&self, request: Request<B>) -> (Access, Request<B>) {
        let (mut head, body) = request.into_parts();
        let Some(call) = Call::of(self.protocol, head.uri.path()) else {
            return (Access::default(), Request::from_parts(head, body));
        };
        let caller = call.caller(self.protocol, self.client, &head);
        if call.name == STREAM {
            head.extensions.insert(caller);
            return (Access::default(), Request::from_parts(head, body));
        }
        let access = self.log.begin(&caller);
        if !call.model.is_empty() {
            access.model(call.model);
        }
        head.extensions.insert(access.clone());
        (access, Request::from_parts(head, body))
    }
}

/// Ties the line to the body of the answer.
pub(super) fn until_sent(answer: Response, protocol: Protocol, access: Access) -> Response {
    if !access.is_on() {
        return answer;
    }
    let status = answer.status();
    let told = match protocol {
        Protocol::Http1 => {
            access.http(status.as_u16());
            None
        }
        Protocol::Http2 => Status::from_header_map(answer.headers()),
    };
    let ended = told.is_some();
    if let Some(told) = told {
        access.grpc(told.code(), told.message());
    }
    let failed = status.is_client_error() || status.is_server_error();
    answer.map(|body| {
        Body::new(Sending { access, protocol, bytes: 0, error: failed.then(Bytes::new), ended, body })
    })
}

/// The body of an answer on its way.
struct Sending {
    access: Access,
    protocol: Protocol,
    /// So far.
    bytes: usize,
    /// The first piece of a refusal, which says why.
    error: Option<Bytes>,
    /// All of it was handed over.
    ended: bool,
    body: Body,
}

impl Sending {
    fn saw(&mut self, frame: Option<&Frame<Bytes>>) {
        let Some(frame) = frame else {
            self.ended = true;
            return;
        };
        if let Some(data) = frame.data_ref() {
            self.bytes += data.len();
            if let Some(error) = self.error.as_mut().filter(|error| error.is_empty()) {
                *error = data.clone();
            }
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers(trailers);
        }
        self.ended |= self.body.is_end_stream();
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.ended = true;
        if let Some(status) = Status::from_header_map(trailers) {
            self.access.grpc(status.code(), status.message());
        }
    }
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            None => self.saw(None),
            Some(Ok(frame)) => self.saw(Some(frame)),
            Some(Err(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if self.protocol == Protocol::Http1 {
            self.access.sent(|| self.bytes); // over gRPC the rpc tells, without what is around messages
        }
        if let Some(reason) = self.error.as_deref().and_then(reason) {
            self.access.error(&reason);
        }
        if !self.ended && !self.body.is_end_stream() {
            self.access.error(BROKEN_OFF);
        }
    }
}

/// What a refusal says, which may be an event of `generate_stream`.
fn reason(body: &[u8]) -> Option<String> {
    let body = body.strip_prefix(b"data: ").unwrap_or(body);
    Json::parse(body).ok()?.get("error")?.as_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use http::HeaderValue;
    use http_body_util::{BodyExt, StreamBody};

    use super::super::request::Caller;
    use super::*;
    use crate::logging::{LogControl, LogOptions};

    #[test]
    fn reasons() {
        for (body, expected) in [
            (&br#"{"error":"no\nsuch"}"#[..], Some("no\nsuch")),
            (b"data: {\"error\":\"late\"}\n\n", Some("late")),
            (br#"{"error":7}"#, None),
            (br#"["error"]"#, None),
            (b"Forbidden", None),
            (b"", None),
        ] {
            assert_eq!(reason(body).as_deref(), expected, "{body:?}");
        }
    }

    /// The status and error of a request whose answer has this `head` and `frames`, of which so many are sent.
    async fn told(protocol: Protocol, head: Response<()>, frames: Vec<Frame<Bytes>>, sent: usize) -> String {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        let options = LogOptions { file: Some(file.clone()), ..LogOptions::default() };
        let log = AccessLog::new(LogControl::new(&options, true).unwrap());
        log.switch(true).unwrap();
        let access = log.begin(&Caller { protocol, ..Caller::unknown("x") });
        let frames = futures_util::stream::iter(frames.into_iter().map(Ok::<_, Infallible>));
        let answer = until_sent(head.map(|()| Body::new(StreamBody::new(frames))), protocol, access);
        let mut body = answer.into_body();
        for _ in 0..sent {
            drop(body.frame().await);
        }
        drop(body);
        log.finish(Duration::from_secs(60));
        let text = fs::read_to_string(file).unwrap();
        let line = text.split_once(" call=x ").unwrap().1.trim_end();
        let kept = line.split(' ').filter(|part| !part.starts_with("total_us=")).collect::<Vec<_>>();
        kept.join(" ")
    }

    #[tokio::test]
    async fn ends() {
        let data = |text: &'static str| Frame::data(Bytes::from_static(text.as_bytes()));
        let grpc_status = |code: &'static str, message: &'static str| {
            HeaderMap::from_iter([
                (Status::GRPC_STATUS, HeaderValue::from_static(code)),
                (Status::GRPC_MESSAGE, HeaderValue::from_static(message)),
            ])
        };
        let head = |status: u16| Response::builder().status(status).body(()).unwrap();
        let refusal = r#"{"error":"no"}"#;
        let broken = format!("error=\"{BROKEN_OFF}\"");
        for (status, frames, sent, expected) in [
            (200, vec![data("abc"), data("d")], 3, "status=200 bytes_out=4".to_owned()),
            (200, vec![data("abc"), data("d")], 1, format!("status=200 bytes_out=3 {broken}")),
            (404, vec![data(refusal)], 2, "status=404 bytes_out=14 error=no".to_owned()),
            (200, vec![data(refusal)], 2, "status=200 bytes_out=14".to_owned()),
            (500, vec![data("what?")], 0, format!("status=500 bytes_out=0 {broken}")),
        ] {
            assert_eq!(told(Protocol::Http1, head(status), frames, sent).await, expected);
        }
        let trailers = Frame::trailers(grpc_status("3", "not%20so"));
        let all = vec![data("abc"), trailers];
        assert_eq!(told(Protocol::Http2, head(200), all, 2).await, "grpc_status=3 error=\"not so\"");
        let mut only = head(200);
        only.headers_mut().extend(grpc_status("14", "later"));
        assert_eq!(told(Protocol::Http2, only, vec![], 0).await, "grpc_status=14 error=later");
        let unsent = told(Protocol::Http2, head(200), vec![data("abc")], 1).await;
        assert_eq!(unsent, "grpc_status=1 error=\"nobody waits for the answer any more\"");
    }
}
