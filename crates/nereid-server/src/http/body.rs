//! Reading a request body whole, without believing what it says about its size.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use nereid_core::{Error, Result};

/// Most that is read of a body only to count it.
const MAX_COUNTED_BYTES: u64 = i32::MAX as u64;
/// Most that is reserved before data has come.
const MAX_RESERVE_BYTES: usize = 1 << 20;

/// Reads `body`, at most `limit` bytes. A body that comes in one piece is not copied.
///
/// # Errors
/// `InvalidArg` when the body is longer, or ends before it should.
pub(super) async fn read<B>(mut body: B, limit: usize) -> Result<Bytes>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_long(limit));
    }
    let mut whole = Pieces::None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Error::invalid_arg(format!("failed to read the request body: {e}")))?;
        let Ok(data) = frame.into_data() else { continue }; // trailers
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
/// `InvalidArg` when the body is longer than any may be, or ends before it should.
pub(super) async fn read_or_count<B>(mut body: B, limit: usize) -> Result<Result<Bytes, u64>>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let (mut whole, mut length) = (Pieces::None, 0);
    let reserve = body.size_hint().lower().min(MAX_RESERVE_BYTES as u64) as usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Error::invalid_arg(format!("failed to read the request body: {e}")))?;
        let Ok(data) = frame.into_data() else { continue }; // trailers
        length += data.len() as u64;
        if length > MAX_COUNTED_BYTES {
            return Err(too_long(limit));
        }
        whole = if length > limit as u64 { Pieces::None } else { whole.with(data, reserve) };
    }
    Ok(if length > limit as u64 { Err(length) } else { Ok(whole.join()) })
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
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

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
            let read = read_or_count(body(pieces), 4).await.unwrap();
            assert_eq!(read, expected.map(Bytes::from));
        }
    }

    #[tokio::test]
    async fn joins_pieces_up_to_the_limit() {
        for (pieces, expected) in [(&[][..], ""), (&["ab"], "ab"), (&["a", "bc", "d"], "abcd")] {
            assert_eq!(read(body(pieces), 4).await.unwrap(), expected);
        }
        let error = read(body(&["abc", "de"]), 4).await.unwrap_err();
        assert_eq!(error.message(), "request body is longer than the limit of 4 bytes");
    }
}
