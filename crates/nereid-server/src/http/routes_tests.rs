//! The category of every route, and what a restricted one answers.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::{HeaderName, HeaderValue, Request, header};
use nereid_repository::Repository;
use tower::Service as _;

use super::super::{HttpOptions, Limits, routes};
use super::*;
use crate::service::{Service, ServiceOptions};

const KEY: (&str, &str) = ("X-Key", "secret");

/// Routes by category, as Triton's handlers say (`RETURN_AND_RESPOND_IF_RESTRICTED` in `http_server.cc`).
const ROUTES: [(Category, &[&str]); 9] = [
    (
        Category::Health,
        &["/v2/health/live", "/v2/health/ready", "/v2/models/m/ready", "/v2/models/m/versions/1/ready"],
    ),
    (Category::Metadata, &["/v2", "/v2/models/m", "/v2/models/m/versions/1"]),
    (
        Category::Inference,
        &[
            "/v2/models/m/infer",
            "/v2/models/m/versions/1/infer",
            "/v2/models/m/generate",
            "/v2/models/m/versions/1/generate_stream",
        ],
    ),
    (
        Category::SharedMemory,
        &[
            "/v2/systemsharedmemory/status",
            "/v2/systemsharedmemory/region/r/status",
            "/v2/systemsharedmemory/region/r/register",
            "/v2/systemsharedmemory/unregister",
            "/v2/cudasharedmemory/status",
            "/v2/cudasharedmemory/region/r/register",
            "/v2/cudasharedmemory/region/r/unregister",
        ],
    ),
    (Category::ModelConfig, &["/v2/models/m/config", "/v2/models/m/versions/1/config"]),
    (
        Category::ModelRepository,
        &[
            "/v2/repository/index",
            "/v2/repository/r/index",
            "/v2/repository/models/m/load",
            "/v2/repository/models/m/unload",
            "/v2/repository/r/models/m/load",
        ],
    ),
    (Category::Statistics, &["/v2/models/stats", "/v2/models/m/stats", "/v2/models/m/versions/1/stats"]),
    (Category::Trace, &["/v2/trace/setting", "/v2/models/m/trace/setting"]),
    (Category::Logging, &["/v2/logging"]),
];

/// A server without models; nothing of it is restricted but `category`.
fn server(category: Option<Category>) -> Router {
    let folder = tempfile::tempdir().unwrap();
    let options = nereid_repository::Options { paths: vec![folder.path().to_owned()], ..Default::default() };
    let service = Service::new(Repository::open(options, Vec::new()).unwrap(), ServiceOptions::default());
    let mut restrictions = Restrictions::default();
    if let Some(category) = category {
        assert!(restrictions.insert(category, Arc::new(Restriction::new(KEY.0, KEY.1).unwrap())));
    }
    routes(
        Arc::new(service),
        HttpOptions { limits: Limits { max_input_bytes: 1 << 20 }, restrictions, header_forward: None },
    )
}

async fn call(server: &mut Router, method: &str, path: &str, key: Option<&'static str>) -> Response {
    let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    if let Some(key) = key {
        let name = HeaderName::from_bytes(KEY.0.as_bytes()).unwrap();
        request.headers_mut().insert(name, HeaderValue::from_static(key));
    }
    server.call(request).await.unwrap()
}

#[tokio::test]
async fn a_restricted_category_is_closed_and_no_other() {
    for restricted in ROUTES.map(|(category, _)| category) {
        let mut server = server(Some(restricted));
        for (category, paths) in ROUTES {
            for path in paths {
                for method in ["GET", "POST", "HEAD", "PATCH"] {
                    let closed = call(&mut server, method, path, None).await.status() == 403;
                    assert_eq!(
                        closed,
                        category == restricted,
                        "{method} {path} with {restricted:?} restricted"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn the_refusal_names_the_header_and_comes_before_the_method() {
    let mut server = server(Some(Category::Metadata));
    for (method, key, status) in [
        ("GET", None, 403),
        ("DELETE", None, 403),
        ("GET", Some("Secret"), 403),
        ("GET", Some("secret"), 200),
        ("DELETE", Some("secret"), 405),
    ] {
        let response = call(&mut server, method, "/v2", key).await;
        assert_eq!(response.status(), status, "{method} {key:?}");
        if status == 403 {
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain");
            let body = to_bytes(response.into_body(), 1000).await.unwrap();
            assert_eq!(body, r#"{"error":"This API is restricted, expecting header 'X-Key'"}"#);
        }
    }
}

#[tokio::test]
async fn nothing_is_closed_without_restrictions() {
    let mut server = server(None);
    for path in ROUTES.iter().flat_map(|(_, paths)| *paths) {
        let response = call(&mut server, "GET", path, None).await;
        assert_ne!(response.status(), 403, "{path}");
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        assert_ne!(body, r#"{"error":"Not Found"}"#, "{path} is no route");
    }
}
