//! One request of a stream, from when it was read until its answer can be written. Knows nothing of the
//! stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nereid_core::{Error, Result};
use nereid_protocol::inference::ModelInferResponse;
use tonic::Status;

use super::infer::{Decoded, Started};
use crate::service::Service;

/// A request whose answer is awaited. Dropping it cancels the request.
pub(super) struct Answering(State);

enum State {
    Running(Started),
    /// Taken when it is polled.
    Known(Option<Answer>),
}

/// What is to be written.
pub(super) enum Answer {
    Done {
        response: ModelInferResponse,
        held_bytes: usize,
    },
    /// The request failed after it was queued; `response` names it.
    Failed {
        response: ModelInferResponse,
        error: Error,
        held_bytes: usize,
    },
    /// The request `id` was not queued.
    Refused {
        id: String,
        error: Error,
    },
    /// The client sent something that is no request.
    Broken(Status),
}

impl Answering {
    /// Puts the request `id`, if it was understood, into its model's queue, at once: requests are queued in the
    /// order in which they are started, which those of a sequence rely on.
    pub(super) fn start(service: &Service, id: String, decoded: Result<Decoded>) -> Self {
        match decoded.and_then(|decoded| decoded.start(service)) {
            Ok(started) => Self(State::Running(started)),
            Err(error) => Self::refuse(id, error),
        }
    }

    /// A request that is refused as it comes.
    pub(super) fn refuse(id: String, error: Error) -> Self {
        Self(State::Known(Some(Answer::Refused { id, error })))
    }

    /// The end of a stream that cannot be read on.
    pub(super) fn broken(status: Status) -> Self {
        Self(State::Known(Some(Answer::Broken(status))))
    }

    /// Size of the tensors that are kept until the answer is here.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.0 {
            State::Running(started) => started.input_bytes(),
            State::Known(_) => 0,
        }
    }
}

impl Future for Answering {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let started = match &mut self.0 {
            State::Running(started) => started,
            State::Known(answer) => return answer.take().map_or(Poll::Pending, Poll::Ready),
        };
        let result = ready!(Pin::new(&mut *started).poll(context));
        let held_bytes = started.input_bytes();
        Poll::Ready(match result {
            Ok(response) => Answer::Done { response, held_bytes },
            Err(error) => Answer::Failed { response: started.named(), error, held_bytes },
        })
    }
}
