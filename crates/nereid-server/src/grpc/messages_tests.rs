//! Bodies in every cut, through every job.

use futures_util::stream;
use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody};

use super::*;
use crate::in_flight::Limit;

const LIMIT: usize = 1 << 21;

fn message(flag: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [&[flag][..], &length.to_be_bytes(), data].concat()
}

fn compressed(encoding: Encoding, data: &[u8]) -> Vec<u8> {
    message(1, &encoding.encode(&[Bytes::copy_from_slice(data)]).unwrap())
}

fn messages(job: Job, pieces: Vec<Bytes>) -> Messages<impl Body<Data = Bytes, Error = BoxError> + Unpin> {
    taking(Budget::new(Limit::None), job, pieces)
}

fn taking(
    budget: Budget,
    job: Job,
    pieces: Vec<Bytes>,
) -> Messages<impl Body<Data = Bytes, Error = BoxError> + Unpin> {
    let bounds = Bounds { message: LIMIT, jobs: Arc::new(Semaphore::new(1)), budget };
    let frames = pieces.into_iter().map(|piece| Ok::<_, BoxError>(Frame::data(piece)));
    Messages::new(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())), job, bounds)
}

async fn all(job: Job, pieces: Vec<Bytes>) -> Result<Vec<u8>, Status> {
    let body = messages(job, pieces).collect().await;
    let body = body.map_err(|e| *e.downcast::<Status>().expect("a status"))?;
    Ok(body.to_bytes().to_vec())
}

fn cut(wire: &[u8], size: usize) -> Vec<Bytes> {
    wire.chunks(size).map(Bytes::copy_from_slice).collect()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn messages_come_out_as_they_should_in_any_cut() {
    let (small, zeros, large, noise) = (vec![7; 100], vec![0; 9000], vec![3; HOLD_ABOVE + 1], noise(300));
    let plain = [&small, &zeros, &large, &noise, &vec![]].map(|data| message(0, data)).concat();
    for encoding in [Encoding::Gzip, Encoding::Deflate] {
        let mixed = [
            compressed(encoding, &small),
            message(0, &zeros),
            compressed(encoding, &large),
            compressed(encoding, &noise),
            compressed(encoding, &[]),
        ]
        .concat();
        for (job, wire, expected) in [
            (Job::Keep, &plain, &plain),
            (Job::Unpack(encoding), &plain, &plain),
            (Job::Unpack(encoding), &mixed, &plain),
        ] {
            for size in sizes(wire) {
                let out = all(job, cut(wire, size)).await.unwrap();
                assert!(out == *expected, "{job:?} in pieces of {size}");
            }
        }
        for size in sizes(&plain) {
            let out = all(Job::Pack(encoding), cut(&plain, size)).await.unwrap();
            assert!(out.len() < plain.len() / 50, "{} bytes in pieces of {size}", out.len());
            assert!(
                out.ends_with(&[message(0, &noise), message(0, &[])].concat()),
                "packed, though it gets no smaller"
            );
            let back = all(Job::Unpack(encoding), vec![out.into()]).await.unwrap();
            assert!(back == plain, "in pieces of {size}");
        }
    }
}

/// Sizes to cut at; a megabyte in tiny pieces takes a while, so that long ones are cut at few. 107 cuts the second
/// prefix of `plain`.
fn sizes(wire: &[u8]) -> impl Iterator<Item = usize> {
    let long = wire.len() > 1 << 20;
    let sizes = [1, 2, 3, 4, 5, 6, 7, 104, 105, 106, 107, 5000, 9110, 1 << 20, 1 << 24];
    sizes.into_iter().filter(move |size| !long || [107, 5000, 1 << 24].contains(size))
}

#[tokio::test]
async fn a_whole_message_is_passed_on_as_it_came() {
    let frame = Bytes::from(message(0, &[1; 1000]));
    let mut body = messages(Job::Keep, vec![frame.clone()]);
    let passed = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((passed.as_ptr(), passed.len()), (frame.as_ptr(), frame.len()));
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_large_message_is_held_until_it_is_there() {
    let wire = message(0, &vec![1; HOLD_ABOVE + 1]);
    for there in [4, 5, 6, wire.len() - 1, wire.len()] {
        let frames = stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::copy_from_slice(&wire[..there])))]);
        let body = StreamBody::new(futures_util::StreamExt::chain(frames, stream::pending()));
        let bounds =
            Bounds { message: LIMIT, jobs: Arc::new(Semaphore::new(1)), budget: Budget::new(Limit::None) };
        let mut body = Messages::new(body, Job::Keep, bounds);
        let first = futures_util::FutureExt::now_or_never(body.frame());
        assert_eq!(first.is_some(), there == wire.len(), "{there} bytes");
    }
}

#[tokio::test]
async fn what_cannot_be_a_message() {
    let gzip = Job::Unpack(Encoding::Gzip);
    let bomb = compressed(Encoding::Gzip, &vec![0; LIMIT + 1]);
    assert!(bomb.len() < LIMIT / 50);
    for (job, wire, expected) in [
        (
            Job::Keep,
            vec![0, 0xff, 0xff, 0xff, 0xff],
            "Received message larger than max (4294967295 vs. 2097152)",
        ),
        (Job::Keep, vec![0, 0, 0x20, 0, 1], "Received message larger than max (2097153 vs. 2097152)"),
        (gzip, bomb, "Received message larger than max: it decompresses to more than 2097152 bytes"),
        (gzip, message(1, b"no gzip"), "failed to decompress the message: "),
        (gzip, message(1, b""), "failed to decompress the message: "),
        (Job::Keep, vec![0, 0], "the body ends within a message"),
        (Job::Keep, vec![0, 0, 0x20, 0, 0, 1], "the body ends within a message"),
        (gzip, vec![1, 0, 0, 0, 9, 1], "the body ends within a message"),
        (Job::Keep, vec![0, 0, 0, 0, 9, 1], "the body ends within a message"),
    ] {
        let status = all(job, cut(&wire, 3)).await.unwrap_err();
        assert!(status.message().starts_with(expected), "{status:?}");
        let code = if expected.starts_with("Received") {
            tonic::Code::ResourceExhausted
        } else {
            tonic::Code::Internal
        };
        assert_eq!(status.code(), code);
    }
}

#[tokio::test]
async fn trailers_come_between_messages_only() {
    let whole = message(0, &vec![1; HOLD_ABOVE + 1]);
    for there in [0, 3, 5, 6, whole.len() - 1, whole.len()] {
        let data = Frame::data(Bytes::copy_from_slice(&whole[..there]));
        let frames = [Ok::<_, BoxError>(data), Ok(Frame::trailers(HeaderMap::new()))];
        let bounds =
            Bounds { message: LIMIT, jobs: Arc::new(Semaphore::new(1)), budget: Budget::new(Limit::None) };
        let body = Messages::new(StreamBody::new(stream::iter(frames)), Job::Keep, bounds);
        let complete = there == 0 || there == whole.len();
        assert_eq!(body.collect().await.is_ok(), complete, "{there} bytes");
    }
}

#[tokio::test]
async fn what_there_is_of_a_message_is_kept_until_it_goes_on() {
    let budget = Budget::new(Limit::Bytes(4 << 20));
    for (length, cut_at) in [(HOLD_ABOVE + 10, HOLD_ABOVE / 2), (HOLD_ABOVE / 2, HOLD_ABOVE / 4)] {
        let wire = Bytes::from(message(0, &vec![7; length]));
        let first = wire.slice(..cut_at);
        let mut body =
            taking(budget, Job::Keep, vec![first, wire.slice(cut_at..), Bytes::from(message(0, &[]))]);
        let mut seen = 0;
        let mut most = 0;
        while let Some(frame) = body.frame().await {
            seen += frame.unwrap().into_data().unwrap().len();
            most = most.max(budget.usage().in_flight);
            let rest = seen < wire.len();
            assert_eq!(budget.usage().in_flight > 0, rest, "{seen} of {}", wire.len());
        }
        assert!(most >= cut_at as u64 - 5);
    }
    let half = Bytes::from(message(0, &vec![7; HOLD_ABOVE + 10])).slice(..HOLD_ABOVE);
    let mut body = taking(budget, Job::Keep, vec![half]);
    assert!(body.frame().await.unwrap().is_err(), "it ends within the message");
    assert!(budget.usage().in_flight > 0);
    drop(body);
    assert_eq!(budget.usage().in_flight, 0);
}

#[tokio::test]
async fn a_message_without_room_is_unavailable() {
    let code = |budget, job, wire: Vec<u8>| async move {
        let body = taking(budget, job, cut(&wire, 1 << 16)).collect().await;
        body.map(|_| ()).map_err(|e| e.downcast::<Status>().expect("a status").code())
    };
    let budget = Budget::new(Limit::Bytes(1 << 20));
    let mut other = budget.hold();
    other.grow(1 << 19).unwrap();
    let large = vec![7; 1 << 19];
    for (job, wire) in [
        (Job::Keep, message(0, &large)),
        (Job::Unpack(Encoding::Gzip), message(0, &large)),
        (Job::Unpack(Encoding::Gzip), compressed(Encoding::Gzip, &large)),
        (Job::Unpack(Encoding::Deflate), compressed(Encoding::Deflate, &large)),
    ] {
        assert_eq!(code(budget, job, wire.clone()).await, Err(tonic::Code::Unavailable), "{job:?}");
        assert_eq!(budget.usage().in_flight, 1 << 19);
        let alone = Budget::new(Limit::Bytes(1 << 20));
        assert_eq!(code(alone, job, wire).await, Ok(()), "{job:?}");
        assert_eq!(alone.usage().in_flight, 0);
    }
    other.set(1 << 20);
    let (tiny, packed) = (message(0, &[7; 100]), compressed(Encoding::Gzip, &[7; 9000]));
    assert_eq!(code(budget, Job::Keep, tiny).await, Ok(()));
    assert_eq!(code(budget, Job::Unpack(Encoding::Gzip), packed).await, Ok(()));
    let can_never_be = message(0, &vec![7; HOLD_ABOVE + 1]);
    assert_eq!(code(budget, Job::Keep, can_never_be).await, Err(tonic::Code::InvalidArgument));
    let answer = message(0, &large);
    assert_eq!(code(budget, Job::Pack(Encoding::Gzip), answer).await, Ok(()), "an answer is not refused");
}

#[tokio::test]
async fn a_stream_goes_on_after_a_message_without_room() {
    let budget = Budget::new(Limit::Bytes(1 << 20));
    let mut other = budget.hold();
    other.grow(1 << 19).unwrap();
    let (small, large) = (message(0, &[7; 100]), vec![3; 1 << 19]);
    let never = message(0, &vec![3; HOLD_ABOVE + 1]);
    let packed = compressed(Encoding::Gzip, &large);
    let wire = [&small, &message(0, &large), &small, &never, &packed, &small].map(Vec::as_slice).concat();
    let empty = message(0, &[]);
    let expected = [&small, &empty, &small, &empty, &empty, &small].map(Vec::as_slice).concat();
    for size in [PREFIX - 1, 1000, 70_000] {
        let refusals = Refusals::default();
        let body = taking(budget, Job::Unpack(Encoding::Gzip), cut(&wire, size));
        let out = body.of_stream(Some(refusals.clone())).collect().await.unwrap().to_bytes();
        assert!(out == expected, "in pieces of {size}");
        let overloads =
            std::iter::from_fn(|| refusals.of(&Default::default())).map(|error| error.is_overload());
        assert_eq!(overloads.collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(budget.usage().in_flight, 1 << 19);
    }
    drop(other);
    let plain = [&small, &message(0, &large)].map(Vec::as_slice).concat();
    let body = taking(budget, Job::Keep, cut(&plain, 1000)).of_stream(Some(Refusals::default()));
    assert!(body.collect().await.unwrap().to_bytes() == plain, "with room it passes");
    assert_eq!(budget.usage().in_flight, 0);
}
