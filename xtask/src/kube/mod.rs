//! `xtask kube`: everything about `k8s/` and `docker/` that can be checked without a cluster. The checks themselves
//! are in `xtask/python/kube`; here are what they need and the table of what they found. `xtask kube-lab` is the part
//! with a cluster.

mod lab;
mod run;
mod table;
mod tools;

pub(crate) use lab::lab;
pub(crate) use run::run;
