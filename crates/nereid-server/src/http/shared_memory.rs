//! The shared memory extensions as a server without `--allow-client-shm` answers them: no region can
//! exist, and none can be registered.

use axum::response::Response;
use nereid_core::{Error, Result};

use super::reply::{self, Refused};

pub(super) async fn status() -> Response {
    reply::json("[]")
}

pub(super) async fn refuse() -> Result<Response, Refused> {
    Err(Error::unsupported(
        "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable.",
    )
    .into())
}
