//! A gRPC body, message by message: what is compressed is decompressed (requests) or the other way round
//! (responses), and a message that claims to be large is held until it is there.
//!
//! tonic reserves the memory that a message claims as soon as its five-byte prefix has come, up to 2 GiB; where
//! memory may not be overcommitted, a few such prefixes would end the process. It also (de)compresses on the event
//! loop. Here both are done before tonic sees a message, on threads of their own. A message of ordinary size is
//! passed on as it comes, without a copy or an allocation.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame};
use nereid_core::Error;
use tokio::sync::Semaphore;
use tonic::Status;

use super::refusals::Refusals;
use crate::http::encoding::{Encoding, Inflate};
use crate::in_flight::{Budget, Held, LARGE};
use crate::status;

/// Compressed-flag and length.
const PREFIX: usize = 5;
/// A message that claims more than this is held until it is there.
const HOLD_ABOVE: usize = 1 << 20;
/// Pieces of a held message that are smaller than this are joined: each has a cost of its own.
const SMALL: usize = 4096;
/// A response up to this size is compressed on the event loop.
const PACK_HERE: usize = 16 << 10;

/// What happens to the messages of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// They are passed on.
    Keep,
    /// Those that are compressed are decompressed.
    Unpack(Encoding),
    /// They are compressed where that makes them smaller.
    Pack(Encoding),
}

/// Bounds that all bodies share.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Longest message, compressed or not, in bytes.
    pub(super) message: usize,
    /// How many messages are (de)compressed at once.
    pub(super) jobs: Arc<Semaphore>,
    /// What the memory of requests is taken from.
    pub(super) budget: Budget,
}

/// The body, with its messages worked on.
pub(super) struct Messages<B> {
    body: B,
    job: Job,
    bounds: Bounds,
    /// Received and not looked at yet.
    rest: Bytes,
    prefix: [u8; PREFIX],
    /// How much of the prefix there is, between messages.
    have: usize,
    state: State,
    held: Vec<Bytes>,
    small: BytesMut,
    work: Option<Work>,
    /// Has what there is of a message, from its first piece until it is passed on whole. What follows counts for itself, and
    /// so does a message that comes in one piece.
    kept: Held,
    /// The message is long enough to count: no question about the server's health is.
    counts: bool,
    /// Where a refused message leaves its reason, and an empty one its place; elsewhere the body ends with it.
    refusals: Option<Refusals>,
    /// Looked at and not passed on yet.
    done: VecDeque<Bytes>,
}

#[derive(Clone, Copy)]
enum State {
    Between,
    /// Within a message that is passed on; so much of it is to come.
    Passing(usize),
    /// Within a message that is held.
    Holding(usize),
    /// Within a message that was refused.
    Skipping(usize),
}

type Work = Pin<Box<dyn Future<Output = Result<Packed, Failure>> + Send>>;

/// Why a message cannot be passed on.
enum Failure {
    /// The body ends with it.
    Broken(Status),
    /// There is no room for this message.
    Refused(Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Broken(status)
    }
}

/// A message that was (de)compressed, and what has its bytes.
type Packed = (VecDeque<Bytes>, Held);

impl<B: Body<Data = Bytes> + Unpin> Messages<B> {
    pub(super) fn new(body: B, job: Job, bounds: Bounds) -> Self {
        let kept = match job {
            Job::Pack(_) => Held::uncounted(), // answers have been counted
            Job::Keep | Job::Unpack(_) => bounds.budget.hold(),
        };
        Self {
            body,
            job,
            bounds,
            kept,
            counts: false,
            refusals: None,
            rest: Bytes::new(),
            prefix: [0; PREFIX],
            have: 0,
            state: State::Between,
            held: Vec::new(),
            small: BytesMut::new(),
            work: None,
            done: VecDeque::new(),
        }
    }

    /// The body of a stream, which goes on after a message that is refused.
    pub(super) fn of_stream(self, refusals: Option<Refusals>) -> Self {
        Self { refusals, ..self }
    }

    /// Takes from `rest`; gives what can be passed on at once.
    fn step(&mut self) -> Result<Option<Bytes>, Status> {
        match self.state {
            State::Between => self.begin(),
            State::Passing(left) => {
                let piece = self.rest.split_to(left.min(self.rest.len()));
                self.pass(left - piece.len(), piece.len()).map_err(|e| status::grpc(&e))?;
                Ok(Some(piece))
            }
            State::Holding(left) => {
                let piece = self.rest.split_to(left.min(self.rest.len()));
                let left = left - piece.len();
                if let Err(error) = self.keep(piece.len()) {
                    self.refuse(error, left)?;
                    return Ok(None);
                }
                self.hold(piece);
                self.state = State::Holding(left);
                if left == 0 {
                    self.complete()?;
                }
                Ok(None)
            }
            State::Skipping(left) => {
                let skipped = left.min(self.rest.len());
                self.rest.advance(skipped);
                self.skip(left - skipped);
                Ok(None)
            }
        }
    }

    fn begin(&mut self) -> Result<Option<Bytes>, Status> {
        let whole = self.have == 0 && self.rest.len() >= PREFIX;
        let n = (PREFIX - self.have).min(self.rest.len());
        self.prefix[self.have..self.have + n].copy_from_slice(&self.rest[..n]);
        if !whole {
            self.rest.advance(n);
            self.have += n;
            if self.have < PREFIX {
                return Ok(None);
            }
        }
        let [flag, length @ ..] = self.prefix;
        let length = u32::from_be_bytes(length) as usize;
        if length > self.bounds.message {
            let limit = self.bounds.message;
            return Err(Status::resource_exhausted(format!(
                "Received message larger than max ({length} vs. {limit})"
            )));
        }
        let works = match self.job {
            Job::Keep => false,
            Job::Unpack(_) => flag == 1,
            Job::Pack(_) => flag == 0 && length > 0,
        };
        self.counts = length > LARGE;
        let prefix = if whole { PREFIX } else { 0 };
        let goes_on = self.refusals.is_some() && self.counts && self.rest.len() - prefix < length;
        if works || length > HOLD_ABOVE || goes_on {
            self.rest.advance(prefix);
            if self.counts
                && let Err(error) = self.kept.check(length as u64)
            {
                self.refuse(error, length)?; // it would be refused in the end
                return Ok(None);
            }
            self.state = State::Holding(length);
            if length == 0 {
                self.complete()?;
            }
            return Ok(None);
        }
        self.pass(length + prefix, 0).map_err(|e| status::grpc(&e))?;
        Ok((!whole).then(|| Bytes::copy_from_slice(&self.prefix)))
    }

    /// So much of a message is to come, and `passed` goes on now, to wait for the rest.
    fn pass(&mut self, left: usize, passed: usize) -> nereid_core::Result<()> {
        self.have = 0;
        if left == 0 {
            self.state = State::Between;
            self.kept.set(0);
            return Ok(());
        }
        self.state = State::Passing(left);
        self.keep(passed)
    }

    fn keep(&mut self, bytes: usize) -> nereid_core::Result<()> {
        if self.counts { self.kept.grow(bytes) } else { Ok(()) }
    }

    /// There is no room for the message, of which so much is to come.
    fn refuse(&mut self, error: Error, left: usize) -> Result<(), Status> {
        let Some(refusals) = &self.refusals else { return Err(status::grpc(&error)) };
        refusals.push(error);
        self.held.clear();
        self.small.clear();
        self.kept.set(0);
        self.skip(left);
        Ok(())
    }

    fn skip(&mut self, left: usize) {
        self.state = State::Skipping(left);
        if left == 0 {
            (self.have, self.state) = (0, State::Between);
            self.done.push_back(Bytes::from_static(&[0; PREFIX])); // an empty message
        }
    }

    fn hold(&mut self, piece: Bytes) {
        if piece.len() < SMALL {
            self.small.extend_from_slice(&piece);
            return;
        }
        self.hold_small();
        self.held.push(piece);
    }

    fn hold_small(&mut self) {
        if !self.small.is_empty() {
            self.held.push(self.small.split().freeze());
        }
    }

    /// The held message is there.
    fn complete(&mut self) -> Result<(), Status> {
        self.hold_small();
        (self.have, self.state) = (0, State::Between);
        let (flag, message, limit) = (self.prefix[0], std::mem::take(&mut self.held), self.bounds.message);
        match self.job {
            Job::Unpack(encoding) if flag == 1 => {
                self.spawn(move |held| unpack(encoding, &message, limit, held));
            }
            Job::Pack(encoding) if flag == 0 && length(&message) <= PACK_HERE => {
                self.done = pack(encoding, message)?;
            }
            Job::Pack(encoding) if flag == 0 => self.spawn(move |_| Ok(pack(encoding, message)?)),
            _ => self.done = framed(flag, message)?,
        }
        Ok(())
    }

    fn spawn(&mut self, work: impl FnOnce(&mut Held) -> Result<VecDeque<Bytes>, Failure> + Send + 'static) {
        let (jobs, mut held) = (self.bounds.jobs.clone(), self.kept.take());
        self.work = Some(Box::pin(async move {
            let permit = jobs.acquire_owned().await; // an error means closed, which it never is
            let work = move || {
                let done = work(&mut held);
                drop(permit); // not before the work is done, even if nobody waits for it any more
                Ok((done?, held))
            };
            let done = tokio::task::spawn_blocking(work).await;
            done.unwrap_or_else(|e| Err(Status::internal(format!("failed to process a message: {e}")).into()))
        }));
    }
}

impl<B> Body for Messages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = &mut *self;
        loop {
            if let Some(piece) = me.done.pop_front() {
                if me.done.is_empty() {
                    me.kept.set(0);
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if let Some(work) = &mut me.work {
                let done = ready!(work.as_mut().poll(cx));
                me.work = None;
                match done {
                    Ok(packed) => (me.done, me.kept) = packed,
                    Err(Failure::Refused(error)) => {
                        if let Err(status) = me.refuse(error, 0) {
                            return Poll::Ready(Some(Err(status.into())));
                        }
                    }
                    Err(Failure::Broken(status)) => return Poll::Ready(Some(Err(status.into()))),
                }
                continue;
            }
            if !me.rest.is_empty() {
                match me.step() {
                    Ok(None) => continue,
                    Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                    Err(status) => return Poll::Ready(Some(Err(status.into()))),
                }
            }
            match ready!(Pin::new(&mut me.body).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_data() => me.rest = frame.into_data().unwrap_or_default(),
                Some(Err(e)) => return Poll::Ready(Some(Err(e.into()))),
                _ if me.have > 0 || !matches!(me.state, State::Between) => {
                    (me.have, me.state) = (0, State::Between);
                    let status = Status::internal("the body ends within a message");
                    return Poll::Ready(Some(Err(status.into())));
                }
                Some(Ok(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let idle = self.rest.is_empty() && self.done.is_empty() && self.work.is_none();
        idle && self.have == 0 && matches!(self.state, State::Between) && self.body.is_end_stream()
    }
}

fn length(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// A message with its prefix.
fn framed(flag: u8, message: Vec<Bytes>) -> Result<VecDeque<Bytes>, Status> {
    let length = u32::try_from(length(&message));
    let length = length.map_err(|_| Status::out_of_range("a message is longer than 4 GiB"))?;
    let prefix: Vec<u8> = std::iter::once(flag).chain(length.to_be_bytes()).collect();
    Ok(std::iter::once(prefix.into()).chain(message).collect())
}

fn unpack(
    encoding: Encoding,
    message: &[Bytes],
    limit: usize,
    held: &mut Held,
) -> Result<VecDeque<Bytes>, Failure> {
    match encoding.inflate(&message.concat(), limit, held) {
        Ok(data) => {
            held.set(data.len());
            Ok(framed(0, vec![data.into()])?)
        }
        Err(Inflate::Refused(error)) => Err(Failure::Refused(error)),
        Err(Inflate::TooLong) => Err(Failure::Broken(Status::resource_exhausted(format!(
            "Received message larger than max: it decompresses to more than {limit} bytes"
        )))),
        Err(Inflate::Broken(e)) => {
            Err(Failure::Broken(Status::internal(format!("failed to decompress the message: {e}"))))
        }
    }
}

/// As gRPC does, a message that does not get smaller stays as it is.
fn pack(encoding: Encoding, message: Vec<Bytes>) -> Result<VecDeque<Bytes>, Status> {
    match encoding.encode(&message) {
        Some(packed) if packed.len() < length(&message) => framed(1, vec![packed]),
        _ => framed(0, message),
    }
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
