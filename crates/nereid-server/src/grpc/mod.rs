//! The gRPC frontend: one line per rpc. What an rpc does is in the file named for it.

mod answering;
mod category;
mod compression;
mod control;
mod deadline;
mod decode;
mod encode;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod infer;
mod log_settings;
mod messages;
mod refusals;
mod shared_memory;
mod stream;
mod trace_setting;

use std::sync::Arc;

use nereid_core::Error;
use nereid_protocol::FILE_DESCRIPTOR_SET;
use nereid_protocol::health::health_server::HealthServer;
use nereid_protocol::inference::grpc_inference_service_server::{
    GrpcInferenceService, GrpcInferenceServiceServer,
};
use nereid_protocol::inference::*;
use tonic::{Request, Response, Status, Streaming};

use self::compression::Compression;
use self::deadline::Deadlines;
use crate::cli::CompressionLevel;
use crate::header_forward::HeaderForward;
use crate::restricted::Restrictions;
use crate::serve::{Draining, HttpService};
use crate::service::Service;
use crate::trace::TraceContext;
use crate::{describe, status, version};

/// Largest message in both directions: as Triton, all that the wire format can say.
const MAX_MESSAGE_BYTES: usize = i32::MAX as usize;

type Answer<T> = Result<Response<T>, Status>;

/// How the gRPC port is served.
#[derive(Debug, Clone)]
pub struct GrpcOptions {
    /// `--grpc-restricted-protocol`.
    pub restrictions: Restrictions,
    /// `--grpc-header-forward-pattern`.
    pub header_forward: Option<Arc<HeaderForward>>,
    /// `--grpc-infer-response-compression-level`.
    pub compression: CompressionLevel,
}

/// The services on the gRPC port: inference, health and reflection, with (de)compression and deadlines around them.
/// Streams refuse new requests once `draining` has started.
///
/// # Errors
/// The compiled-in descriptors are broken.
pub fn router(
    service: Arc<Service>,
    options: GrpcOptions,
    draining: Draining,
) -> Result<impl HttpService, tonic_reflection::server::Error> {
    let GrpcOptions { restrictions, header_forward, compression } = options;
    let budget = service.budget();
    let inference = Grpc { service: service.clone(), header_forward, draining };
    let inference = GrpcInferenceServiceServer::new(inference)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let reflection_alpha = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1alpha()?;
    let mut routes = tonic::service::Routes::builder();
    routes
        .add_service(inference)
        .add_service(HealthServer::new(health::Health(service)))
        .add_service(reflection)
        .add_service(reflection_alpha);
    let router = category::restrict(routes.routes().prepare().into_axum_router(), &restrictions);
    Ok(Deadlines(Compression::new(router, compression, MAX_MESSAGE_BYTES, budget)))
}

/// The rpcs of `inference.GRPCInferenceService`.
#[derive(Debug)]
struct Grpc {
    service: Arc<Service>,
    header_forward: Option<Arc<HeaderForward>>,
    draining: Draining,
}

/// Wraps an answer of the service.
fn answer<T>(result: nereid_core::Result<T>) -> Answer<T> {
    result.map(Response::new).map_err(|e| status::grpc(&e))
}

fn unsupported<T>(message: &str) -> Answer<T> {
    answer(Err(Error::unsupported(message)))
}

#[tonic::async_trait]
impl GrpcInferenceService for Grpc {
    type ModelStreamInferStream = stream::Responses;

    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Answer<ServerLiveResponse> {
        answer(self.service.live().map(|live| ServerLiveResponse { live }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Answer<ServerReadyResponse> {
        answer(self.service.ready().map(|ready| ServerReadyResponse { ready }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answer<ModelReadyResponse> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let ready = version::parse(&version).and_then(|v| self.service.repository().model_ready(&name, v));
        answer(ready.map(|ready| ModelReadyResponse { ready }))
    }

    async fn server_metadata(&self, _: Request<ServerMetadataRequest>) -> Answer<ServerMetadataResponse> {
        answer(Ok(describe::server(&self.service)))
    }

    async fn model_metadata(&self, request: Request<ModelMetadataRequest>) -> Answer<ModelMetadataResponse> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        answer(version::parse(&version).and_then(|v| describe::model(&self.service, &name, v)))
    }

    async fn model_config(&self, request: Request<ModelConfigRequest>) -> Answer<ModelConfigResponse> {
        let ModelConfigRequest { name, version } = request.into_inner();
        let model = version::parse(&version).and_then(|v| self.service.model(&name, v));
        answer(model.map(|m| ModelConfigResponse { config: Some((*m.wire_config).clone()) }))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Answer<ModelStatisticsResponse> {
        let ModelStatisticsRequest { name, version } = request.into_inner();
        answer(version::parse(&version).and_then(|v| describe::statistics(&self.service, &name, v)))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        let access = self.service.access().of(request.extensions());
        let forwarded = decode::forwarded(self.header_forward.as_deref(), request.metadata());
        let arrived = self.service.tracer().arrived(|| TraceContext::of(request.metadata().as_ref()));
        answer(infer::infer(&self.service, request.into_inner(), forwarded, arrived, access).await)
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Answer<Self::ModelStreamInferStream> {
        let forwarded = decode::forwarded(self.header_forward.as_deref(), request.metadata());
        Ok(Response::new(stream::serve(self.service.clone(), request, forwarded, self.draining.clone())))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Answer<RepositoryIndexResponse> {
        let RepositoryIndexRequest { repository_name, ready } = request.into_inner();
        if !repository_name.is_empty() {
            return unsupported("'repository_name' specification is not supported");
        }
        answer(self.service.clone().off_the_loop(move |service| describe::index(service, ready)).await)
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Answer<RepositoryModelLoadResponse> {
        self.service.access().of(request.extensions()).model(&request.get_ref().model_name);
        control::load(self.service.clone(), request.into_inner()).await
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Answer<RepositoryModelUnloadResponse> {
        self.service.access().of(request.extensions()).model(&request.get_ref().model_name);
        control::unload(self.service.clone(), request.into_inner()).await
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<SystemSharedMemoryStatusRequest>,
    ) -> Answer<SystemSharedMemoryStatusResponse> {
        answer(shared_memory::system_status(&self.service, request.into_inner()))
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<SystemSharedMemoryRegisterRequest>,
    ) -> Answer<SystemSharedMemoryRegisterResponse> {
        answer(shared_memory::system_register(self.service.clone(), request.into_inner()).await)
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<SystemSharedMemoryUnregisterResponse> {
        answer(shared_memory::system_unregister(self.service.clone(), request.into_inner()).await)
    }

    async fn cuda_shared_memory_status(
        &self,
        request: Request<CudaSharedMemoryStatusRequest>,
    ) -> Answer<CudaSharedMemoryStatusResponse> {
        answer(shared_memory::cuda_status(&self.service, request.into_inner()))
    }

    async fn cuda_shared_memory_register(
        &self,
        request: Request<CudaSharedMemoryRegisterRequest>,
    ) -> Answer<CudaSharedMemoryRegisterResponse> {
        answer(shared_memory::cuda_register(self.service.clone(), request.into_inner()).await)
    }

    async fn cuda_shared_memory_unregister(
        &self,
        request: Request<CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<CudaSharedMemoryUnregisterResponse> {
        answer(shared_memory::cuda_unregister(self.service.clone(), request.into_inner()).await)
    }

    async fn trace_setting(&self, request: Request<TraceSettingRequest>) -> Answer<TraceSettingResponse> {
        answer(trace_setting::answer(&self.service, request.into_inner()))
    }

    async fn log_settings(&self, request: Request<LogSettingsRequest>) -> Answer<LogSettingsResponse> {
        answer(log_settings::answer(&self.service, &request.into_inner()))
    }
}
