//! The repository from the outside: real folders, a backend without a model, real schedulers.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod backend;
mod bare;
mod control;
mod disk;
mod ensembles;
mod gpus;
mod index;
mod labels;
mod lifecycle;
mod lookup;
mod namespaces;
mod overrides;
mod paths;
mod readiness;
mod recorded;
mod reload;
mod repo;
mod requests;
mod served;
mod warm_up;
mod watch;
