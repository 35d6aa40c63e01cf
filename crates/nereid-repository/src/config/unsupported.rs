//! What a config may say and this server does not serve yet. Each entry goes when its feature comes.
//! Silence would be worse: such a model would load and answer wrongly.

use nereid_core::{Error, Result};
use nereid_protocol::inference::ModelConfig;

/// Refuses, when a version is loaded, what no scheduler or backend here can do.
///
/// # Errors
/// Unsupported, naming the field.
pub(crate) fn at_load(config: &ModelConfig) -> Result<()> {
    super::validate::response_cache(config)?; // with Triton's reason
    let name = &config.name;
    let decoupled = config.model_transaction_policy.is_some_and(|policy| policy.decoupled);
    for (used, field) in [(decoupled, "model_transaction_policy.decoupled")] {
        if used {
            return Err(Error::unsupported(format!(
                "model '{name}' uses '{field}', which is not supported yet"
            )));
        }
    }
    Ok(())
}

/// Refuses, when a model is found, repository agents: they may check or rewrite the model, so that a model
/// must not load without them.
///
/// # Errors
/// InvalidArg, naming the agent.
pub(crate) fn at_poll(config: &ModelConfig) -> Result<()> {
    match config.model_repository_agents.iter().flat_map(|agents| &agents.agents).next() {
        None => Ok(()),
        Some(agent) => Err(Error::invalid_arg(format!(
            "unable to find 'libtritonrepoagent_{0}.so' for repo agent '{0}': repository agents are not supported yet",
            agent.name
        ))),
    }
}
