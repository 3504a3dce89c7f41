//! The pages, the browser bundle and the static files.

use crate::campaign_forms;
use crate::error::ApiError;
use crate::image_forms::image_forms;
use crate::routes::{self, CompareForm};
use crate::run_forms::{Renderer, run_forms};
use crate::state::AppState;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use frontend::{Api, App, Bundle, Help, HelpPage, RefusedForm, shell};
use leptos::config::LeptosOptions;
use leptos::prelude::{IntoView, provide_context};
use leptos_axum::{LeptosRoutes, generate_route_list_with_exclusions, render_app_async_with_context};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

/// The router of all pages, which call `api`, and of their files. Unknown paths get a 404: as JSON under `/api`, `/pkg` and
/// `/static`, as a page elsewhere.
pub(crate) fn site(state: &AppState, api: Router) -> Router {
    let options = LeptosOptions::builder().output_name("frontend").build();
    let folder = state.site.clone();
    let context = move || {
        provide_context(Api(api.clone()));
        provide_context(bundle(&folder));
    };
    let document = shell;
    let pages: Router<LeptosOptions> = Router::new().leptos_routes_with_context(
        &options,
        generate_route_list_with_exclusions(App, Some(vec![HELP_PAGE.to_owned()])),
        context.clone(),
        document,
    );
    let help = {
        let (folder, context) = (state.site.join("help"), context.clone());
        move |request: Request| help(folder, request, context, document)
    };
    let compare = {
        let (state, context, document) = (state.clone(), context.clone(), document);
        move |request: Request| compare(state, request, context, document)
    };
    let render: Renderer = {
        let (context, document) = (context.clone(), document);
        Arc::new(move |request: Request, more: Arc<dyn Fn() + Send + Sync>| {
            let context = context.clone();
            let context = move || {
                context();
                more();
            };
            render_app_async_with_context(context, document)(request)
        })
    };
    let fallback = move |request: Request| {
        let page = render_app_async_with_context(context.clone(), document);
        async move { missing(request, page).await }
    };
    pages
        .with_state(options)
        .route("/judge/vote", post(routes::vote_by_form).with_state(state.clone()))
        .route(COMPARE_PAGE, post(compare))
        .merge(campaigns(state))
        .route("/models/{id}/delete", post(routes::delete_model_by_form).with_state(state.clone()))
        .route("/help", get(|| async { Redirect::to("/help/index.html") }))
        .route(HELP_PAGE, get(help))
        .nest_service("/help/shapes", ServeDir::new(state.site.join("help/shapes")))
        .merge(run_forms(state, &render))
        .merge(image_forms(state))
        .merge(files(state))
        .fallback(fallback)
}

/// Where the forms of campaigns are posted, and the links of invitations.
fn campaigns(state: &AppState) -> Router {
    Router::new()
        .route("/campaigns/new", post(campaign_forms::new))
        .route("/campaigns/quick", post(campaign_forms::quick))
        .route("/campaigns/{id}/state", post(campaign_forms::set_state))
        .route("/campaigns/{id}/invite", post(campaign_forms::invitations))
        .route("/campaigns/{id}/judge/agree", post(campaign_forms::agree))
        .route("/campaigns/{id}/judge/answer", post(campaign_forms::judge))
        .route("/campaigns/{id}/judge/erase", post(campaign_forms::erase))
        .route("/join/{token}", get(routes::join))
        .with_state(state.clone())
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

/// The pages of the documentation and their files. The frontend routes the pages, but does not read them.
const HELP_PAGE: &str = "/help/{page}";

/// A page or another file of the documentation. Pages are fragments, which `document` surrounds.
async fn help<Context, Document, View>(
    folder: PathBuf,
    request: Request,
    context: Context,
    document: Document,
) -> Response
where
    Context: Fn() + Clone + Send + Sync + 'static,
    Document: Fn() -> View + Clone + Send + Sync + 'static,
    View: IntoView + 'static,
{
    let name = request.uri().path().trim_start_matches("/help/").to_owned();
    let is_page = name.strip_suffix(".html").is_some_and(|stem| {
        stem.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    });
    if !is_page {
        let mut files = ServeDir::new(&folder).precompressed_br().precompressed_gzip();
        let (mut parts, body) = request.into_parts();
        parts.uri = match format!("/{name}").parse::<Uri>() {
            Ok(address) => address,
            Err(problem) => return ApiError::internal(problem).into_response(),
        };
        return match files.try_call(Request::from_parts(parts, body)).await {
            Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                ApiError::not_found(format!("address as /help/{name}; /help lists the documentation"))
                    .into_response()
            }
            Ok(response) => response.map(Body::new),
            Err(problem) => ApiError::internal(problem).into_response(),
        };
    }
    let page = match tokio::fs::read_to_string(folder.join(&name)).await {
        Ok(text) => Some(HelpPage::read(&name, &text)),
        Err(problem) => {
            tracing::debug!(name, %problem, "no page of the documentation");
            None
        }
    };
    let built = folder.join("index.html").is_file();
    let context = move || {
        context();
        provide_context(Help { page: page.clone(), built });
    };
    render_app_async_with_context(context, document)(request).await
}

/// The browser bundle that is current now: a new one may be built while the server runs.
fn bundle(site: &Path) -> Bundle {
    let current = std::fs::read_to_string(site.join("pkg/current")).ok();
    Bundle { folder: current.map(|name| format!("/pkg/{}", name.trim())) }
}

/// The bundle is compressed when it is built, and a changed bundle has another address, so browsers keep it for good. They
/// revalidate all other files.
fn files(state: &AppState) -> Router {
    let bundle = ServeDir::new(state.site.join("pkg")).precompressed_br().precompressed_gzip();
    let bundle = Router::new().nest_service("/pkg", bundle).layer(SetResponseHeaderLayer::if_not_present(
        header::CACHE_CONTROL,
        |response: &Response| {
            let kept = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
            let value = if kept { "public, max-age=31536000, immutable" } else { "no-cache" };
            Some(HeaderValue::from_static(value))
        },
    ));
    let static_files = Router::new().nest_service("/static", ServeDir::new(&state.static_files)).layer(
        SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    );
    bundle.merge(static_files)
}
