//! The pages, the browser bundle and the static files.

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

/// The router of all pages, which call `api`, and of their files. Unknown paths get a 404: as JSON under `/api`, `/pkg` and
/// `/static`, as a page elsewhere.
pub(crate) fn site(state: &AppState, api: Router) -> Router {
    let options = LeptosOptions::builder().output_name("frontend").build();
    let context = move || provide_context(Api(api.clone()));
    let document = {
        let options = options.clone();
        move || shell(options.clone())
    };
    let pages: Router<LeptosOptions> = Router::new().leptos_routes_with_context(
        &options,
        generate_route_list(App),
        context.clone(),
        document.clone(),
    );
    let fallback = move |request: Request| {
        let page = render_app_async_with_context(context.clone(), document.clone());
        async move { missing(request, page).await }
    };
    pages
        .with_state(options)
        .route("/judge/vote", post(routes::vote_by_form).with_state(state.clone()))
        .merge(files(state))
        .fallback(fallback)
}

/// The 404 response. `page` renders the page of an unknown path.
async fn missing<Page, Rendering>(request: Request, page: Page) -> Response
where
    Page: Fn(Request) -> Rendering,
    Rendering: Future<Output = Response>,
{
    let path = request.uri().path();
    if path.starts_with("/api/") || path.starts_with("/pkg/") || path.starts_with("/static/") {
        return ApiError::not_found(format!("address as {path}; /docs lists all routes")).into_response();
    }
    let mut response = page(request).await;
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// The bundle is compressed when it is built. Browsers revalidate every file, so that a new bundle is never combined with
/// an old stylesheet.
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
