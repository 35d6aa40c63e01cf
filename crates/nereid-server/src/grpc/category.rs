//! The category of each rpc, and restricted APIs over gRPC: one layer around all services, before any is called.
//!
//! Reflection has no category, as in Triton: it is never restricted.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use nereid_core::Error;

use crate::restricted::{Category, Restrictions};
use crate::status;

/// Rpcs by path. A test holds this against the .proto files.
const CATEGORIES: [(&str, Category); 21] = [
    ("/grpc.health.v1.Health/Check", Category::Health),
    ("/inference.GRPCInferenceService/ServerLive", Category::Health),
    ("/inference.GRPCInferenceService/ServerReady", Category::Health),
    ("/inference.GRPCInferenceService/ModelReady", Category::Health),
    ("/inference.GRPCInferenceService/ServerMetadata", Category::Metadata),
    ("/inference.GRPCInferenceService/ModelMetadata", Category::Metadata),
    ("/inference.GRPCInferenceService/ModelInfer", Category::Inference),
    ("/inference.GRPCInferenceService/ModelStreamInfer", Category::Inference),
    ("/inference.GRPCInferenceService/ModelConfig", Category::ModelConfig),
    ("/inference.GRPCInferenceService/ModelStatistics", Category::Statistics),
    ("/inference.GRPCInferenceService/RepositoryIndex", Category::ModelRepository),
    ("/inference.GRPCInferenceService/RepositoryModelLoad", Category::ModelRepository),
    ("/inference.GRPCInferenceService/RepositoryModelUnload", Category::ModelRepository),
    ("/inference.GRPCInferenceService/SystemSharedMemoryStatus", Category::SharedMemory),
    ("/inference.GRPCInferenceService/SystemSharedMemoryRegister", Category::SharedMemory),
    ("/inference.GRPCInferenceService/SystemSharedMemoryUnregister", Category::SharedMemory),
    ("/inference.GRPCInferenceService/CudaSharedMemoryStatus", Category::SharedMemory),
    ("/inference.GRPCInferenceService/CudaSharedMemoryRegister", Category::SharedMemory),
    ("/inference.GRPCInferenceService/CudaSharedMemoryUnregister", Category::SharedMemory),
    ("/inference.GRPCInferenceService/TraceSetting", Category::Trace),
    ("/inference.GRPCInferenceService/LogSettings", Category::Logging),
];

/// `router` with `restrictions`; untouched when there are none.
pub(super) fn restrict(router: Router, restrictions: &Restrictions) -> Router {
    if restrictions.is_empty() {
        return router;
    }
    let restrictions = restrictions.clone();
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let refused = refusal(&restrictions, &request);
        async move {
            match refused {
                Some(refused) => refused,
                None => next.run(request).await,
            }
        }
    }))
}

fn category(path: &str) -> Option<Category> {
    CATEGORIES.iter().find(|(known, _)| *known == path).map(|(_, category)| *category)
}

/// The answer to a request that lacks the header.
fn refusal(restrictions: &Restrictions, request: &Request) -> Option<Response> {
    let restriction = restrictions.of(category(request.uri().path())?)?;
    if restriction.admits(request.headers()) {
        return None;
    }
    let message = format!("This protocol is restricted, expecting header '{}'", restriction.header());
    Some(status::grpc(&Error::unavailable(message)).into_http())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use axum::routing::any;
    use http::HeaderValue;
    use nereid_protocol::FILE_DESCRIPTOR_SET;
    use prost_reflect::DescriptorPool;
    use tower::Service as _;

    use super::*;
    use crate::restricted::Restriction;

    fn paths() -> Vec<String> {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let of = |service: prost_reflect::ServiceDescriptor| {
            let name = service.full_name().to_owned();
            service.methods().map(move |m| format!("/{name}/{}", m.name())).collect::<Vec<_>>()
        };
        pool.services().flat_map(of).collect()
    }

    #[test]
    fn every_rpc_has_its_category() {
        let paths = paths();
        assert!(paths.iter().all(|path| category(path).is_some()), "{paths:?}");
        assert_eq!(paths.len(), CATEGORIES.len());
    }

    #[tokio::test]
    async fn a_restricted_category_is_closed_and_no_other() {
        let mut restrictions = Restrictions::default();
        let restriction = Restriction::new("triton-grpc-protocol-Key", "secret").unwrap();
        assert!(restrictions.insert(Category::Health, Arc::new(restriction)));
        let mut router = restrict(Router::new().fallback(any(async || "called")), &restrictions);
        for path in paths() {
            for (key, opens) in [(None, false), (Some("wrong"), false), (Some("secret"), true)] {
                let mut request = Request::builder().uri(&path).body(Body::empty()).unwrap();
                if let Some(key) = key {
                    request.headers_mut().insert("triton-grpc-protocol-key", HeaderValue::from_static(key));
                }
                let response = router.call(request).await.unwrap();
                let refused = response.headers().contains_key("grpc-status");
                assert_eq!(refused, category(&path) == Some(Category::Health) && !opens, "{path} {key:?}");
                if refused {
                    assert_eq!(response.headers()["grpc-status"], "14");
                    let message = response.headers()["grpc-message"].to_str().unwrap();
                    let expected = "This protocol is restricted, expecting header 'triton-grpc-protocol-Key'";
                    assert_eq!(message.replace("%20", " ").replace("%27", "'"), expected);
                }
            }
        }
    }
}
