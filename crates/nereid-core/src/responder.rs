//! The way back to whoever sent a request: exactly one answer, whatever happens on the way.

use std::fmt;

use crate::{Continuation, Error, InferResponse, Result};

/// The receiving side of one request, implemented by the frontends and by ensembles.
pub trait Respond: Send {
    /// Takes the one answer. Must not block; may enqueue, because no lock of a scheduler is held. Gives back what the
    /// answer has made possible, if that is something to do on this thread.
    fn respond(self: Box<Self>, result: Result<InferResponse>) -> Option<Continuation>;
}

/// Owns a [`Respond`] and answers it `Internal` if it is dropped unanswered, so that nothing hangs.
pub struct Responder(Option<Box<dyn Respond>>);

impl Responder {
    /// Wraps the receiving side.
    pub fn new(respond: impl Respond + 'static) -> Self {
        Self(Some(Box::new(respond)))
    }

    /// For an answer that nobody waits for.
    pub fn nobody() -> Self {
        Self(None)
    }

    /// Gives the answer; an error is that of an accepted request ([`Error::was_accepted`]).
    ///
    /// Gives back what the answer has made possible. Whoever gives answers in batches takes it on after the last one;
    /// anybody else may drop it.
    pub fn respond(mut self, result: Result<InferResponse>) -> Option<Continuation> {
        self.0.take()?.respond(result.map_err(Error::accepted))
    }

    /// Lets go of the receiving side unanswered: the request was not accepted, and whoever sent it learns so in
    /// another way.
    pub fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            let error = Error::internal("inference request was dropped before it was answered");
            drop(inner.respond(Err(error.accepted())));
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("answered", &self.0.is_none()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Channel(mpsc::Sender<Result<InferResponse>>);

    impl Respond for Channel {
        fn respond(self: Box<Self>, result: Result<InferResponse>) -> Option<Continuation> {
            self.0.send(result).unwrap();
            None
        }
    }

    #[test]
    fn a_dropped_responder_answers_once() {
        let (sender, receiver) = mpsc::channel();
        drop(Responder::new(Channel(sender.clone())));
        assert_eq!(receiver.try_recv().unwrap().unwrap_err().code(), crate::ErrorCode::Internal);
        assert!(Responder::new(Channel(sender)).respond(Ok(InferResponse::default())).is_none());
        assert!(receiver.recv().unwrap().is_ok());
        assert!(receiver.recv().is_err(), "one answer, not two");
    }

    #[test]
    fn a_forgotten_responder_does_not_answer() {
        let (sender, receiver) = mpsc::channel();
        Responder::new(Channel(sender)).forget();
        assert!(receiver.recv().is_err());
    }

    #[test]
    fn errors_of_responses_say_so() {
        let told = |act: &dyn Fn(Responder)| {
            let (sender, receiver) = mpsc::channel();
            act(Responder::new(Channel(sender)));
            receiver.recv().unwrap().unwrap_err()
        };
        let error = || Error::unavailable("x");
        assert!(told(&|r| drop(r.respond(Err(error())))).was_accepted());
        assert!(told(&|r| drop(r.respond(Err(error())))).prefixed("y").was_accepted());
        assert!(told(&drop).was_accepted());
        assert!(!error().was_accepted());
    }
}
