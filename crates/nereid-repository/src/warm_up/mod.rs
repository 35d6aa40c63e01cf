//! Warm-up: what a model runs before it takes requests. [`samples`] makes the requests, [`running`] runs them on the
//! instances and can be stopped.

mod running;
mod samples;

pub(crate) use running::{Subject, WarmUps};
pub(crate) use samples::{Sample, prepare};
