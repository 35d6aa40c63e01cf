//! `grpc.health.v1`: `Check`, for any service name, as Triton answers it.

use std::sync::Arc;

use nereid_protocol::health::health_check_response::ServingStatus;
use nereid_protocol::health::health_server;
use nereid_protocol::health::{HealthCheckRequest, HealthCheckResponse};
use tonic::{Request, Response, Status};

use crate::service::Service;

/// Answers health checks with the server's readiness.
#[derive(Debug)]
pub(super) struct Health(pub(super) Arc<Service>);

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let ready = self.0.ready().unwrap_or(false);
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }
}
