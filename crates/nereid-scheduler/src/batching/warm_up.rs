//! Runs a batch on an instance that no scheduler has yet. Counted like any other, as in Triton: there is no other way
//! to see that it has happened. The instance is not busy meanwhile: nobody should get help because it warms up.

use std::sync::Arc;

use nereid_core::backend::Instance;
use nereid_core::{ModelConfig, Responder, Result, Timestamp, ValidRequest};

use super::instance::{self, Outcome};
use super::queue::Entry;
use crate::Statistics;
use crate::sequence::Injector;

/// Runs `requests`, which fit `config` and are not more than it allows, as one batch. What a scheduler of sequences would
/// add to them may be there already, or is added.
///
/// # Errors
/// What the backend says; a panic of its is an error.
pub fn warm_up(
    instance: &mut dyn Instance,
    config: &ModelConfig,
    mut requests: Vec<ValidRequest>,
    statistics: &Statistics,
) -> Result<()> {
    if config.sequence().is_some() {
        let injector = Injector::new(Arc::new(config.clone()));
        requests.iter_mut().for_each(|request| injector.complete(request));
    }
    let now = Timestamp::now();
    let entry = |request| Entry::new(request, Responder::nobody(), now);
    let entries = requests.into_iter().map(entry).collect();
    let answers = match instance::run(instance, config, entries, statistics, None) {
        Outcome::Done { answers, .. } => answers,
        Outcome::Failed(failed) => failed.blame_backend(statistics),
    };
    // A batch fails as a whole.
    answers.into_iter().try_for_each(|(_, result)| result.map(drop))
}
