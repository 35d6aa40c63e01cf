//! The shared memory extensions as a server without `--allow-client-shm` answers them: no region can
//! exist, and none can be registered.

use axum::response::Response;
use nereid_core::{Error, Result};

use super::reply::{self, Refused};
use crate::service::NO_CLIENT_SHM;

pub(super) async fn status() -> Response {
    reply::json("[]")
}

pub(super) async fn refuse() -> Result<Response, Refused> {
    Err(Error::unsupported(NO_CLIENT_SHM).into())
}
