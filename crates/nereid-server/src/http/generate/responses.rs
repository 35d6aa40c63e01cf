//! The responses of one request, one after another.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use nereid_core::{Error, Result};

/// The responses of a request, written, as the model gives them. An error need not be the last one. Dropping it cancels
/// the request.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// The response of a model that gives one.
///
/// # Errors
/// That of the response, or Internal when there is none or more than one. Triton has sent status 200 by then.
pub(super) async fn exactly_one(mut responses: Responses) -> Result<Bytes> {
    match (responses.next().await, responses.next().await) {
        (Some(response), None) => response,
        _ => Err(Error::internal(
            "generate expects model to produce exactly 1 response, use generate stream for model that generates \
             various number of responses",
        )),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn one_and_only_one() {
        let of = |list: Vec<Result<Bytes>>| exactly_one(Box::pin(stream::iter(list)));
        let ok = || Ok(Bytes::new());
        assert!(of(vec![ok()]).await.is_ok());
        assert_eq!(of(vec![Err(Error::cancelled())]).await.unwrap_err(), Error::cancelled());
        for list in [vec![], vec![ok(), ok()], vec![ok(), Err(Error::cancelled())]] {
            let message = of(list).await.unwrap_err();
            assert!(message.message().starts_with("generate expects model to produce exactly 1 response, "));
        }
    }
}
