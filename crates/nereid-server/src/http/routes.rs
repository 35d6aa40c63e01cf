//! Routes, each with its category: where restricted APIs are enforced over HTTP, before the method is looked at.
//!
//! A route of a category that nobody restricted is as if there were no restrictions.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::MethodRouter;
use http::StatusCode;
use nereid_protocol::rest;

use super::Http;
use super::reply::{self, TEXT};
use crate::restricted::{Category, Restriction, Restrictions};

/// Routes on their way to a router. There is no way to add one without its category.
#[derive(Debug)]
pub(super) struct Routes {
    router: Router<Http>,
    restrictions: Restrictions,
}

impl Routes {
    /// No routes yet.
    pub(super) fn new(restrictions: Restrictions) -> Self {
        Self { router: Router::new(), restrictions }
    }

    /// Adds a route.
    pub(super) fn route(self, category: Category, path: &str, methods: MethodRouter<Http>) -> Self {
        let Self { router, restrictions } = self;
        let methods = match restrictions.of(category) {
            Some(restriction) => guarded(methods, restriction.clone()),
            None => methods,
        };
        Self { router: router.route(path, methods), restrictions }
    }

    /// The router; any other path is `Not Found`.
    pub(super) fn with_state(self, state: Http) -> Router {
        self.router.fallback(reply::not_found).with_state(state)
    }
}

/// `methods`, and how others are refused, only for those who have the header.
fn guarded(methods: MethodRouter<Http>, restriction: Arc<Restriction>) -> MethodRouter<Http> {
    methods.layer(middleware::from_fn(move |request: Request, next: Next| {
        let restriction = restriction.clone();
        async move {
            match restriction.admits(request.headers()) {
                true => next.run(request).await,
                false => forbidden(&restriction),
            }
        }
    }))
}

fn forbidden(restriction: &Restriction) -> Response {
    let message = format!("This API is restricted, expecting header '{}'", restriction.header());
    reply::reply(StatusCode::FORBIDDEN, TEXT, rest::error_body(&message))
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
