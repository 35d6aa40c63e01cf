//! Requests of a stream that were refused while they were still arriving, so that nobody knows more of them. An empty message
//! takes the place of each, and its answer is the refusal: the stream goes on.

use std::collections::VecDeque;
use std::sync::Arc;

use nereid_core::Error;
use nereid_protocol::inference::ModelInferRequest;
use parking_lot::Mutex;

/// The refusals that have not been answered yet, in the order of their requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals(Arc<Mutex<VecDeque<Error>>>);

impl Refusals {
    /// The next message is empty and stands for a request that was refused for `error`.
    pub(super) fn push(&self, error: Error) {
        self.0.lock().push_back(error);
    }

    /// The refusal that `message` stands for, if it does. Messages are asked for in their order.
    pub(super) fn of(&self, message: &ModelInferRequest) -> Option<Error> {
        let empty = message.model_name.is_empty() && message.inputs.is_empty() && message.id.is_empty();
        if empty { self.0.lock().pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_message_stands_for_what_was_refused() {
        let (refusals, empty) = (Refusals::default(), ModelInferRequest::default());
        let named = ModelInferRequest { model_name: "m".into(), ..Default::default() };
        assert_eq!(refusals.of(&empty), None, "the client's own");
        refusals.push(Error::overloaded("first"));
        refusals.clone().push(Error::overloaded("second"));
        assert_eq!(refusals.of(&named), None);
        assert_eq!(refusals.of(&empty).unwrap().message(), "first");
        assert_eq!(refusals.of(&empty).unwrap().message(), "second");
        assert_eq!(refusals.of(&empty), None);
    }
}
