//! Ensembles: a request runs through several models, each step as soon as its inputs exist. Tensors are handed on as they
//! are, without a copy.
//!
//! Decisions are pure: [`graph`] says who needs what, [`flow`] what follows from what has arrived, [`shapes`] what becomes
//! of a batch dimension, [`limit`] whose turn it is where the requests of a step are limited. `request` and `shared`
//! are the shells that own locks and the clock. There are no threads here: the answer to one step starts the next.

mod flow;
mod graph;
mod hand;
mod limit;
mod models;
mod request;
mod response;
mod scheduler;
mod shapes;
mod shared;

pub use models::{ComposingModel, ComposingModels};
pub(crate) use request::Request;
pub(crate) use scheduler::EnsembleScheduler;
