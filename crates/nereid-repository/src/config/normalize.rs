//! Writes defaults into a config (`NormalizeModelConfig` in Triton's model_config_utils.cc). Applied once when
//! a model is found and again after the backend has completed its config; refuses nothing.

use nereid_protocol::inference::model_config::SchedulingChoice;
use nereid_protocol::inference::model_optimization_policy::PinnedMemoryBuffer;
use nereid_protocol::inference::model_sequence_batching::StrategyChoice;
use nereid_protocol::inference::model_version_policy::{Latest, PolicyChoice};
use nereid_protocol::inference::{ModelConfig, ModelVersionPolicy};

use super::is_ensemble;

/// Microseconds after which a sequence without requests ends.
const SEQUENCE_IDLE_US: u64 = 1_000_000;

/// Writes every default that needs no knowledge of the machine or the model.
pub(crate) fn defaults(config: &mut ModelConfig) {
    config.version_policy.get_or_insert(ModelVersionPolicy {
        policy_choice: Some(PolicyChoice::Latest(Latest { num_versions: 1 })),
    });
    let largest = config.max_batch_size;
    match &mut config.scheduling_choice {
        Some(SchedulingChoice::DynamicBatching(batching)) => {
            prefer_largest(&mut batching.preferred_batch_size, largest);
        }
        Some(SchedulingChoice::SequenceBatching(batching)) => {
            if batching.max_sequence_idle_microseconds == 0 {
                batching.max_sequence_idle_microseconds = SEQUENCE_IDLE_US;
            }
            if let Some(StrategyChoice::Oldest(oldest)) = &mut batching.strategy_choice {
                prefer_largest(&mut oldest.preferred_batch_size, largest);
            }
        }
        _ => {}
    }
    if !is_ensemble(config) {
        let optimization = config.optimization.get_or_insert_default();
        optimization.input_pinned_memory.get_or_insert(PinnedMemoryBuffer { enable: true });
        optimization.output_pinned_memory.get_or_insert(PinnedMemoryBuffer { enable: true });
    }
}

fn prefer_largest(preferred: &mut Vec<i32>, max_batch_size: i32) {
    if preferred.is_empty() && max_batch_size > 0 {
        preferred.push(max_batch_size);
    }
}
