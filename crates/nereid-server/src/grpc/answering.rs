//! One request of a stream, from when it was read until its answer can be written. Knows nothing of the
//! stream.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nereid_core::{Error, Result};
use nereid_protocol::inference::ModelInferResponse;
use tonic::Status;

use super::infer::{Decoded, Started};
use crate::access::Access;
use crate::service::Service;

/// A request whose answer is awaited. Dropping it cancels the request.
pub(super) struct Answering {
    held_bytes: usize,
    state: State,
    access: Access,
}

enum State {
    Running(Started),
    /// Taken when it is polled.
    Known(Option<Answer>),
}

/// What is to be written.
pub(super) enum Answer {
    Done(ModelInferResponse),
    /// The request failed after it was queued; `response` names it.
    Failed {
        response: ModelInferResponse,
        error: Error,
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
    /// order in which they are started, which those of a sequence rely on. `message_bytes` is the request's size on
    /// the wire.
    pub(super) fn start(
        service: &Service,
        id: String,
        message_bytes: usize,
        decoded: Result<Decoded>,
        access: Access,
    ) -> Self {
        match decoded.and_then(|decoded| decoded.start(service, access.clone())) {
            Ok(started) => {
                // The first is larger if tensors came from shared memory.
                let held_bytes = started.input_bytes().max(message_bytes);
                Self { held_bytes, state: State::Running(started), access }
            }
            Err(error) => Self::refuse(id, error, access),
        }
    }

    /// A request that is refused as it comes.
    pub(super) fn refuse(id: String, error: Error, access: Access) -> Self {
        // Both may be as long as the client likes, which may have named a model that there is not.
        let held_bytes = id.len() + error.message().len();
        Self { held_bytes, state: State::Known(Some(Answer::Refused { id, error })), access }
    }

    /// The end of a stream that cannot be read on.
    pub(super) fn broken(status: Status) -> Self {
        Self { held_bytes: 0, state: State::Known(Some(Answer::Broken(status))), access: Access::default() }
    }

    /// Size of what is kept until the answer is written.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

impl Future for Answering {
    /// The answer, [`Self::held_bytes`], which it frees, and the request's line, which ends with it.
    type Output = (Answer, usize, Access);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let started = match &mut this.state {
            State::Running(started) => started,
            State::Known(answer) => {
                let Some(answer) = answer.take() else { return Poll::Pending };
                return Poll::Ready((answer, this.held_bytes, mem::take(&mut this.access)));
            }
        };
        let result = ready!(Pin::new(&mut *started).poll(context));
        let answer = match result {
            Ok(response) => Answer::Done(response),
            Err(error) => Answer::Failed { response: started.named(), error },
        };
        Poll::Ready((answer, this.held_bytes, mem::take(&mut this.access)))
    }
}
