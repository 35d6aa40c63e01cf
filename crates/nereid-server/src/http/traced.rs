//! The end of a traced request: its response's body, which is dropped when it has been handed to the connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::trace::{Ending, Event, Trace};

/// Ties `trace` to the body of `response`. What is not traced stays as it is.
pub(super) fn until_sent(response: Response, mut trace: Trace) -> Response {
    if !trace.is_on() {
        return response;
    }
    trace.mark(Event::HttpSendStart);
    let end = trace.ending(Event::HttpSendEnd);
    response.map(|body| Body::new(Traced { body, _end: end }))
}

struct Traced {
    body: Body,
    _end: Ending,
}

impl http_body::Body for Traced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
