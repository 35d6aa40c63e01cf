//! Requests that are answered before their body was read, around everything else: what is left of a small body is read
//! and thrown away, so that the connection can go on; after a large one the answer says that it does not. Without either
//! hyper closes the connection unannounced, and the client's next request is lost.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower::Service;

/// Most that is thrown away.
const MOST_BYTES: u64 = 1 << 20;
/// The same for who is told to come again (`Retry-After`), which is better done on the same connection.
const MOST_RETRY_BYTES: u64 = 64 << 20;
/// How long the client may take to send it.
const MOST_TIME: Duration = Duration::from_secs(5);

/// A service whose clients may go on after a refusal.
#[derive(Debug, Clone)]
pub(super) struct Unread<S>(S);

/// Where a body comes back to when it is let go unread.
type Slot<B> = Arc<Mutex<Option<B>>>;

/// A body that comes back unless it was read to its end.
pub(super) struct Lent<B> {
    /// Until its end was seen.
    body: Option<B>,
    slot: Option<Slot<B>>,
}

pin_project! {
    /// The answer, and then what is left of the request.
    pub(super) struct Answering<F, B> {
        #[pin]
        answer: F,
        // `None` for a request without a body.
        slot: Option<Slot<B>>,
        waits: bool,
        rest: Option<(Response, Rest<B>)>,
    }
}

/// What is left of a body.
struct Rest<B> {
    body: B,
    /// Read so far, of `most`.
    bytes: u64,
    most: u64,
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> Unread<S> {
    /// Guards `service`.
    pub(super) fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S, B> Service<Request<B>> for Unread<S>
where
    S: Service<Request<Lent<B>>, Response = Response, Error = Infallible>,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Such a client sends its body only when it is asked for it, which reading it would do.
        let waits = request.headers().contains_key(header::EXPECT);
        let slot = (!request.body().is_end_stream()).then(Slot::default);
        let request = request.map(|body| Lent { body: Some(body), slot: slot.clone() });
        Answering { answer: self.0.call(request), slot, waits, rest: None }
    }
}

impl<F, B> Future for Answering<F, B>
where
    F: Future<Output = Result<Response, Infallible>>,
    B: Body<Data = Bytes> + Unpin,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.rest.is_none() {
            let answer = ready!(this.answer.poll(context))?;
            match this.slot.as_ref().and_then(|slot| slot.lock().take()) {
                None => return Poll::Ready(Ok(answer)),
                Some(_) if *this.waits => return Poll::Ready(Ok(last(answer))),
                Some(body) => {
                    let retry = answer.headers().contains_key(header::RETRY_AFTER);
                    let most = if retry { MOST_RETRY_BYTES } else { MOST_BYTES };
                    *this.rest = Some((answer, Rest { body, bytes: 0, most, end: None }));
                }
            }
        }
        let Some((_, rest)) = this.rest else { return Poll::Pending };
        let whole = ready!(rest.poll_end(context));
        let Some((answer, _)) = this.rest.take() else { return Poll::Pending };
        Poll::Ready(Ok(if whole { answer } else { last(answer) }))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Rest<B> {
    /// Reads on; says whether that was all.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        loop {
            if self.bytes.saturating_add(self.body.size_hint().lower()) > self.most {
                return Poll::Ready(false);
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                Poll::Ready(Some(Ok(frame))) => {
                    self.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                }
                Poll::Pending => {
                    let end = self.end.get_or_insert_with(|| Box::pin(tokio::time::sleep(MOST_TIME)));
                    return end.as_mut().poll(context).map(|()| false);
                }
            }
        }
    }
}

/// The last answer on its connection.
fn last(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

impl<B: Body + Unpin> Body for Lent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for Lent<B> {
    fn drop(&mut self) {
        if let (Some(slot), Some(body)) = (&self.slot, self.body.take()) {
            *slot.lock() = Some(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use futures_util::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use nereid_core::Error;
    use tower::service_fn;

    use super::*;
    use crate::http::reply::Refused;

    /// Whether the connection ends with the answer to a request of `pieces`, and, if it `stalls`, nothing more.
    async fn ends(
        pieces: &[usize],
        stalls: bool,
        head: Option<(&'static str, &'static str)>,
        reads: bool,
        answer: fn() -> Response,
    ) -> bool {
        let frames: Vec<_> =
            pieces.iter().map(|n| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![0; *n])))).collect();
        let frames = stream::iter(frames);
        let frames = if stalls { frames.chain(stream::pending()).boxed() } else { frames.boxed() };
        let mut request = Request::new(StreamBody::new(frames));
        if let Some((name, value)) = head {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let service = service_fn(move |request: Request<Lent<_>>| async move {
            if reads {
                request.into_body().collect().await?;
            }
            Ok::<_, Infallible>(answer())
        });
        let answer = Unread::new(service).call(request).await.unwrap();
        answer.headers().get(header::CONNECTION).is_some_and(|value| value == "close")
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_cannot_be_thrown_away_ends_the_connection() {
        let most = MOST_BYTES as usize;
        for (pieces, stalls, head, reads, expected) in [
            (&[][..], false, None, false, false),
            (&[3, 4], false, None, false, false),
            (&[3, 4], false, None, true, false),
            (&[most], false, None, false, false),
            (&[most, 1], false, None, false, true),
            (&[most, 1], false, None, true, false),
            (&[3], true, None, false, true),
            (&[3], false, Some(("expect", "100-continue")), false, true),
            (&[3], false, Some(("expect", "100-continue")), true, false),
        ] {
            assert_eq!(
                ends(pieces, stalls, head, reads, Response::default).await,
                expected,
                "{pieces:?} {stalls} {head:?} {reads}"
            );
        }
        let overload = || Refused::Text(Error::overloaded("x")).into_response();
        let most = MOST_RETRY_BYTES as usize;
        for (pieces, stalls, expected) in
            [(&[most / 2, most / 2][..], false, false), (&[most, 1], false, true), (&[3], true, true)]
        {
            assert_eq!(ends(pieces, stalls, None, false, overload).await, expected, "{pieces:?} {stalls}");
        }
    }
}
