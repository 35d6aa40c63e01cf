//! The model repository: folders on disk → parsed, completed, normalised, validated configs → loaded versions,
//! which the server looks up by name.
//!
//! Knows the file system, the model config message and backends; knows neither HTTP nor gRPC. Lookups take no
//! lock.

mod adapt;
mod bare;
mod cache_identity;
mod changes;
mod composing;
mod config;
mod data_files;
mod dependencies;
mod disk;
mod fingerprint;
mod gpu_limits;
mod host_policy;
mod identity;
mod index;
mod labels;
mod lifecycle;
mod loader;
mod lookup;
mod options;
mod overrides;
mod parallel;
mod plan;
mod poll;
mod readiness;
mod reaper;
mod repository;
mod scratch;
mod states;
mod survey;
mod table;
mod turns;
mod update;
mod version;
mod versions;
mod warm_up;
mod watch;

pub use gpu_limits::GpuLimits;
pub use host_policy::HostPolicies;
pub use identity::ModelId;
pub use index::IndexEntry;
pub use labels::Labels;
pub use options::{ControlMode, Options, ReadyWhen};
pub use overrides::LoadParameters;
pub use readiness::Readiness;
pub use repository::{Repository, StartupFailure};
pub use states::State;
pub use version::ModelVersion;
