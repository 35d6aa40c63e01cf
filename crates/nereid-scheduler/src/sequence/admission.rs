//! Whether a request may join or begin a sequence, with Triton's texts. Pure.

use nereid_core::{CorrelationId, Error, Result, ValidRequest};

/// What is known when a request comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// A sequence of its id goes on.
    pub(crate) known: bool,
    /// No sequence may begin any more.
    pub(crate) stopping: bool,
}

/// Whether `id` names no sequence.
pub(crate) fn is_none(id: &CorrelationId) -> bool {
    match id {
        CorrelationId::Number(number) => *number == 0,
        CorrelationId::Text(text) => text.is_empty(),
    }
}

/// Checks what needs no knowledge of other requests.
///
/// # Errors
/// `InvalidArg`: several rows, or no correlation id.
pub(crate) fn check(request: &ValidRequest, model: &str) -> Result<()> {
    if request.batch_size() > 1 {
        return Err(Error::invalid_arg(format!(
            "inference request to model '{model}' must specify batch-size 1 due to requirements of sequence batcher"
        )));
    }
    if is_none(&request.sequence().id) {
        return Err(Error::invalid_arg(format!(
            "inference request to model '{model}' must specify a non-zero or non-empty correlation ID"
        )));
    }
    Ok(())
}

/// Checks where the request stands in its sequence.
///
/// # Errors
/// `Unavailable`: a sequence begins while the scheduler stops. `InvalidArg`: it goes on without having begun.
pub(crate) fn admit(request: &ValidRequest, model: &str, standing: Standing) -> Result<()> {
    let Standing { known, stopping } = standing;
    let sequence = request.sequence();
    let id = match &sequence.id {
        CorrelationId::Number(number) => number.to_string(),
        CorrelationId::Text(text) => text.clone(),
    };
    match (sequence.start, known) {
        (true, _) if stopping => Err(Error::unavailable(
            "Server is stopping, scheduler for model has stopped accepting new inference requests",
        )),
        (false, false) => Err(Error::invalid_arg(format!(
            "inference request for sequence {id} to model '{model}' must specify the START flag on the first request of \
             the sequence"
        ))),
        (true, true) => {
            tracing::warn!(
                "sequence {id} for model '{model}' has a conflict. The previous sequence did not end before this sequence \
                 start. Previous sequence will be terminated early."
            );
            Ok(())
        }
        (true, false) | (false, true) => Ok(()),
    }
}
