//! The pages, the browser bundle and the static files.

use crate::error::ApiError;
use crate::routes::{self, CompareForm};
use crate::state::AppState;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use frontend::{Api, App, RefusedForm, shell};
use leptos::config::LeptosOptions;
use leptos::prelude::{IntoView, provide_context};
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
    let compare = {
        let (state, context, document) = (state.clone(), context.clone(), document.clone());
        move |request: Request| compare(state, request, context, document)
    };
    let fallback = move |request: Request| {
        let page = render_app_async_with_context(context.clone(), document.clone());
        async move { missing(request, page).await }
    };
    pages
        .with_state(options)
        .route("/judge/vote", post(routes::vote_by_form).with_state(state.clone()))
        .route(COMPARE_PAGE, post(compare))
        .merge(files(state))
        .fallback(fallback)
}

/// The page that starts a comparison, and where its form is posted.
const COMPARE_PAGE: &str = "/judge/compare";

/// Starts a comparison and redirects to its Judge page. If the form is refused, the response is its page again, with the
/// error, what was entered, and the error's status.
async fn compare<Context, Document, View>(
    state: AppState,
    request: Request,
    context: Context,
    document: Document,
) -> Response
where
    Context: Fn() + Clone + Send + Sync + 'static,
    Document: Fn() -> View + Clone + Send + Sync + 'static,
    View: IntoView + 'static,
{
    let headers = request.headers().clone();
    let form = match CompareForm::read(request, &state).await {
        Ok(form) => form,
        Err(error) => return error.into_response(),
    };
    let started = match form.request() {
        Ok(request) => routes::compare(&state, &request).await,
        Err(error) => Err(error),
    };
    let error = match started {
        Ok(comparison) => return Redirect::to(&comparison.judge_url).into_response(),
        Err(error) => error,
    };
    let Some(detail) = error.client_error() else { return error.into_response() };
    let status = error.status();
    let refused = RefusedForm { detail, prompts: form.prompts, images_per_prompt: form.images_per_prompt };
    let context = move || {
        context();
        provide_context(refused.clone());
    };
    let mut page = Request::new(Body::empty());
    *page.method_mut() = Method::GET;
    *page.headers_mut() = headers;
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("model", &form.model).finish();
    *page.uri_mut() = match format!("{COMPARE_PAGE}?{query}").parse::<Uri>() {
        Ok(address) => address,
        Err(problem) => return ApiError::internal(problem).into_response(),
    };
    let mut response = render_app_async_with_context(context, document)(page).await;
    *response.status_mut() = status;
    response
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
