//! The HTTP API and the pages. `app` builds the whole router; the program in `main.rs` only listens.

mod address;
mod agreed;
mod auth;
mod campaign_forms;
mod campaign_spec_form;
mod config;
mod connections;
mod error;
mod events;
mod extract;
mod generation_places;
mod generator;
mod hosts;
mod image_forms;
mod image_work;
mod invited;
mod json;
mod judged;
mod plain_refusals;
mod rater;
mod ratings;
mod request_span;
mod routes;
mod run_forms;
mod secret;
mod site;
mod state;
mod stopping;

pub use config::Config;
pub use connections::{Connections, default_connections};
pub use error::ApiError;
pub use state::AppState;

use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use extract::BODY_LIMIT;
use std::any::Any;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::{DefaultOnResponse, TraceLayer};
use tracing::Level;

/// The router of the API, the pages and their files. Access control surrounds all of it; pages then call the API inside,
/// without passing access control again.
pub fn app(state: AppState) -> Router {
    let api = routes::api(state.clone());
    site::site(&state, api.clone())
        .merge(api)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(state.clone(), stopping::answer))
        .layer(middleware::from_fn(auth::refuse_cross_site))
        .layer(middleware::from_fn_with_state(state.clone(), auth::require_known_host))
        .layer(middleware::from_fn_with_state(state, auth::require_token))
        .layer(middleware::from_fn(address::refuse_unusable))
        .layer(middleware::from_fn(plain_refusals::to_json))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(SetResponseHeaderLayer::overriding(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(SetResponseHeaderLayer::overriding(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")))
        .layer(SetResponseHeaderLayer::overriding(
            header::REFERRER_POLICY,
            HeaderValue::from_static("same-origin"),
        ))
        // Pages have a policy of their own, and reports too.
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        ))
        .layer(CompressionLayer::new())
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(request_span::request_span)
                .on_response(DefaultOnResponse::new().level(Level::INFO))
                // Errors are logged where they occur.
                .on_failure(()),
        )
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    ApiError::internal(format!("panicked: {}", text.unwrap_or_default())).into_response()
}
