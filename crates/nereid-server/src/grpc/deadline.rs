//! `grpc-timeout`: a call ends at its client's deadline, streams included, even if the client does not say so
//! itself. What runs for it is dropped, which cancels it. Calls without a deadline pass through.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::Either;
use http::{HeaderMap, HeaderValue, Request};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::{Code, Status};
use tower::Service;

use crate::serve::HttpService;

const HEADER: &str = "grpc-timeout";
/// As gRPC's own servers word it, and write it: tonic would encode the space, and a client whose own timer fires at
/// the same moment shows the text as it stands here.
const TEXT: HeaderValue = HeaderValue::from_static("Deadline Exceeded");

/// Ends the calls to `S` at their deadlines.
#[derive(Debug, Clone)]
pub(super) struct Deadlines<S>(pub(super) S);

type Boxed = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl<S: HttpService> Service<Request<Incoming>> for Deadlines<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Boxed>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let deadline = timeout(request.headers()).and_then(|timeout| Instant::now().checked_add(timeout));
        let answer = self.0.call(request);
        match deadline {
            None => Either::Left(answer),
            Some(deadline) => Either::Right(Box::pin(async move {
                match timeout_at(deadline, answer).await {
                    Ok(answer) => answer.map(|a| a.map(|body| Body::new(Limited::new(body, deadline)))),
                    Err(_) => Ok(expired()),
                }
            })),
        }
    }
}

/// An answer that is nothing but a status.
fn expired() -> Response {
    let mut response = Status::deadline_exceeded("").into_http();
    response.headers_mut().extend(status());
    response
}

fn status() -> HeaderMap {
    HeaderMap::from_iter([
        (Status::GRPC_STATUS, HeaderValue::from(Code::DeadlineExceeded as i32)),
        (Status::GRPC_MESSAGE, TEXT),
    ])
}

/// What the client gives the call: at most eight digits and a unit. Anything else counts as no deadline.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(HEADER)?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// A body that ends with a status at its deadline.
struct Limited {
    /// `None` once it has ended.
    body: Option<Body>,
    deadline: Pin<Box<Sleep>>,
}

impl Limited {
    fn new(body: Body, deadline: Instant) -> Self {
        Self { body: Some(body), deadline: Box::pin(sleep_until(deadline)) }
    }
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = http_body::Body::poll_frame(Pin::new(body), context) {
            return Poll::Ready(frame);
        }
        ready!(self.deadline.poll_unpin(context));
        self.body = None;
        Poll::Ready(Some(Ok(Frame::trailers(status()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        for (value, expected_ns) in [
            ("1H", Some(3_600_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("3S", Some(3_000_000_000)),
            ("4m", Some(4_000_000)),
            ("5u", Some(5_000)),
            ("6n", Some(6)),
            ("0m", Some(0)),
            ("99999999H", Some(99_999_999 * 3_600_000_000_000)),
            ("100000000n", None),
            ("", None),
            ("S", None),
            ("1", None),
            ("-1S", None),
            ("+1S", None),
            ("1s", None),
            ("1 S", None),
        ] {
            let headers = HeaderMap::from_iter([(HEADER.parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(timeout(&headers).map(|t| t.as_nanos()), expected_ns, "{value:?}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
        let odd = HeaderValue::from_bytes(b"1\xb5").unwrap();
        assert_eq!(timeout(&HeaderMap::from_iter([(HEADER.parse().unwrap(), odd)])), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_ends_at_its_deadline_or_by_itself() {
        let deadline = Instant::now() + Duration::from_secs(3600);
        let whole = Limited::new(Body::from("all"), deadline);
        assert_eq!(whole.size_hint().exact(), Some(3));
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "all");
        let (sender, silent) = tokio::sync::oneshot::channel::<()>();
        let silent = futures_util::stream::once(async move { silent.await.map(|()| Bytes::new()) });
        let mut body = Limited::new(Body::from_stream(silent), deadline);
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "4");
        assert_eq!(trailers["grpc-message"], "Deadline Exceeded");
        assert!(sender.is_closed(), "what was behind it is dropped");
        assert!(body.frame().await.is_none() && body.is_end_stream());
    }
}
