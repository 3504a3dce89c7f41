//! The pages and their files.

use crate::error::ApiError;
use crate::routes;
use crate::state::AppState;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use frontend::{Api, App, shell};
use leptos::config::LeptosOptions;
use leptos::prelude::provide_context;
use leptos_axum::{LeptosRoutes, generate_route_list, render_app_async_with_context};
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

/// Pages that ask `api`, the browser's bundle, stylesheet and icon. Whatever is not there is told: in JSON under /api,
/// as a page elsewhere.
pub(crate) fn site(state: &AppState, api: Router) -> Router {
    let options = LeptosOptions::builder().output_name("frontend").build();
    let context = move || provide_context(Api(api.clone()));
    let frame = {
        let options = options.clone();
        move || shell(options.clone())
    };
    let pages: Router<LeptosOptions> = Router::new().leptos_routes_with_context(
        &options,
        generate_route_list(App),
        context.clone(),
        frame.clone(),
    );
    let fallback = move |request: Request| {
        let page = render_app_async_with_context(context.clone(), frame.clone());
        async move { missing(request, page).await }
    };
    pages
        .with_state(options)
        .route("/judge/vote", post(routes::vote_by_form).with_state(state.clone()))
        .merge(files(state))
        .fallback(fallback)
}

async fn missing<Page, Drawing>(request: Request, page: Page) -> Response
where
    Page: Fn(Request) -> Drawing,
    Drawing: Future<Output = Response>,
{
    let path = request.uri().path();
    if path.starts_with("/api/") || path.starts_with("/pkg/") || path.starts_with("/static/") {
        return ApiError::not_found(format!("address as {path}")).into_response();
    }
    let mut response = page(request).await;
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// The bundle is compressed once, when it is made. Browsers ask each time whether a file has changed: a new bundle beside
/// an old stylesheet would be worse than a question.
fn files(state: &AppState) -> Router {
    let bundle = ServeDir::new(state.site.join("pkg")).precompressed_br().precompressed_gzip();
    Router::new()
        .nest_service("/pkg", bundle)
        .nest_service("/static", ServeDir::new(&state.static_files))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache"),
        ))
}
