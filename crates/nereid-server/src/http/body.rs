//! Reading a request body whole, without believing what it says about its size.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use nereid_core::{Error, Result};

use crate::in_flight::{Budget, Held, LARGE};

/// Most that is read of a body only to count it.
const MAX_COUNTED_BYTES: u64 = i32::MAX as u64;
/// Most that is reserved before data has come.
const MAX_RESERVE_BYTES: usize = 1 << 20;
/// How long a client may send nothing of a body that it has begun. As generous as the limit on a head: Triton has none.
const STALL_TIMEOUT: Duration = Duration::from_secs(600);

/// For the body of a request that is no inference: a short one is never refused.
pub(super) fn hold(budget: Budget, body: &impl Body) -> Held {
    let is_short = body.size_hint().upper().is_some_and(|bytes| bytes <= LARGE as u64);
    if is_short { Held::uncounted() } else { budget.hold() }
}

/// Reads `body`, at most `limit` bytes, which `held` has as they come. A body that comes in one piece is not copied.
///
/// # Errors
/// `InvalidArg` when the body is longer, ends before it should, or does not go on; those of [`Held::grow`].
pub(super) async fn read<B>(mut body: B, limit: usize, held: &mut Held) -> Result<Bytes>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_long(limit));
    }
    if announced > LARGE {
        held.check(announced as u64)?; // it would be refused in the end, or so it looks now
    }
    let mut whole = Pieces::None;
    while let Some(frame) = next(&mut body).await? {
        let Ok(data) = frame.into_data() else { continue }; // trailers
        held.grow(data.len())?;
        whole = whole.with(data, announced.min(MAX_RESERVE_BYTES));
        if whole.len() > limit {
            return Err(too_long(limit));
        }
    }
    Ok(whole.join())
}

/// Reads `body` as [`read`] does, but of one that is longer than `limit` only how long it is, as the error inside: who
/// sends it all before looking at the answer gets one. Nothing of it is kept.
///
/// # Errors
/// `InvalidArg` when the body is longer than any may be, or ends before it should; those of [`Held::grow`].
pub(super) async fn read_or_count<B>(mut body: B, limit: usize, held: &mut Held) -> Result<Result<Bytes, u64>>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let (mut whole, mut length) = (Pieces::None, 0);
    let reserve = body.size_hint().lower().min(MAX_RESERVE_BYTES as u64) as usize;
    while let Some(frame) = next(&mut body).await? {
        let Ok(data) = frame.into_data() else { continue }; // trailers
        length += data.len() as u64;
        if length > MAX_COUNTED_BYTES {
            return Err(too_long(limit));
        }
        if length > limit as u64 {
            whole = Pieces::None;
            held.set(0);
        } else {
            held.grow(data.len())?;
            whole = whole.with(data, reserve);
        }
    }
    Ok(if length > limit as u64 { Err(length) } else { Ok(whole.join()) })
}

/// The next frame of `body`. Time is kept only while there is none.
async fn next<B>(body: &mut B) -> Result<Option<Frame<Bytes>>>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut stalled = None;
    poll_fn(|cx| {
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
            let failed = |e| Error::invalid_arg(format!("failed to read the request body: {e}"));
            return Poll::Ready(frame.transpose().map_err(failed));
        }
        let stalled = stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_TIMEOUT)));
        stalled.as_mut().poll(cx).map(|()| {
            let seconds = STALL_TIMEOUT.as_secs();
            Err(Error::invalid_arg(format!("nothing of the request body has come for {seconds} seconds")))
        })
    })
    .await
}

fn too_long(limit: usize) -> Error {
    Error::invalid_arg(format!("request body is longer than the limit of {limit} bytes"))
}

enum Pieces {
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Pieces {
    fn with(self, data: Bytes, reserve: usize) -> Self {
        match self {
            Self::None => Self::One(data),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity(reserve.max(first.len() + data.len()));
                all.extend_from_slice(&first);
                all.extend_from_slice(&data);
                Self::Many(all)
            }
            Self::Many(mut all) => {
                all.extend_from_slice(&data);
                Self::Many(all)
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(data) => data.len(),
            Self::Many(data) => data.len(),
        }
    }

    fn join(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(data) => data,
            Self::Many(data) => data.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;
    use crate::in_flight::Limit;

    fn body(pieces: &[&'static str]) -> impl Body<Data = Bytes, Error = std::convert::Infallible> + Unpin {
        let frames: Vec<_> =
            pieces.iter().map(|p| Ok(Frame::data(Bytes::from_static(p.as_bytes())))).collect();
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn keeps_or_counts() {
        for (pieces, expected) in [
            (&[][..], Ok("")),
            (&["a", "bc", "d"], Ok("abcd")),
            (&["abc", "de"], Err(5)),
            (&["abcdefg", "", "h"], Err(8)),
        ] {
            let read = read_or_count(body(pieces), 4, &mut Held::uncounted()).await.unwrap();
            assert_eq!(read, expected.map(Bytes::from));
        }
    }

    #[tokio::test]
    async fn joins_pieces_up_to_the_limit() {
        for (pieces, expected) in [(&[][..], ""), (&["ab"], "ab"), (&["a", "bc", "d"], "abcd")] {
            assert_eq!(read(body(pieces), 4, &mut Held::uncounted()).await.unwrap(), expected);
        }
        let error = read(body(&["abc", "de"]), 4, &mut Held::uncounted()).await.unwrap_err();
        assert_eq!(error.message(), "request body is longer than the limit of 4 bytes");
    }

    #[tokio::test]
    async fn bytes_are_held_as_they_come() {
        let budget = Budget::new(Limit::Bytes(1 << 20));
        let announced = || Full::new(Bytes::from(vec![7; 1 << 19]));
        let mut held = budget.hold();
        assert_eq!(read(announced(), 1 << 19, &mut held).await.unwrap().len(), 1 << 19);
        assert_eq!(budget.usage().in_flight, 1 << 19);
        let refused = |error: Error| {
            assert!(error.is_overload() && error.message().starts_with("Exceeds maximum bytes in flight"));
            assert_eq!(budget.usage().in_flight, 1 << 19);
        };
        let error = read(announced(), 1 << 19, &mut budget.hold()).await.unwrap_err();
        refused(error);
        let error = read(unannounced(), 1 << 19, &mut budget.hold()).await.unwrap_err();
        refused(error);
        let error = read_or_count(unannounced(), 1 << 19, &mut budget.hold()).await.unwrap_err();
        refused(error);
        let mut other = budget.hold();
        assert_eq!(read_or_count(unannounced(), 1 << 17, &mut other).await, Ok(Err(1 << 19)));
        assert_eq!(budget.usage().in_flight, 1 << 19, "what is only counted is not held");
    }

    /// As many bytes as `announced` in pieces that do not say so.
    fn unannounced() -> impl Body<Data = Bytes, Error = std::convert::Infallible> + Unpin {
        let piece = || Ok(Frame::data(Bytes::from(vec![7; 1 << 16])));
        StreamBody::new(stream::iter((0..8).map(move |_| piece())))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_be_slow_but_not_stand_still() {
        let piece = || Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b"a")));
        let slow = stream::iter(0..10).then(move |_| async move {
            tokio::time::sleep(STALL_TIMEOUT - Duration::from_secs(1)).await;
            piece()
        });
        let mut held = Held::uncounted();
        assert_eq!(read(StreamBody::new(Box::pin(slow)), 10, &mut held).await.unwrap().len(), 10);
        let stalled = stream::iter([piece()]).chain(stream::pending());
        let error = read(StreamBody::new(stalled), 10, &mut held).await.unwrap_err();
        assert_eq!(error.message(), "nothing of the request body has come for 600 seconds");
    }
}
