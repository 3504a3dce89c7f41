//! Forms of pages that change runs and jobs, without JavaScript. A form that is refused gets its page again, with the error,
//! what was entered, and the error's status.

use crate::error::ApiError;
use crate::extract::{Form, Id};
use crate::routes::{apply_run_change, delete_run, resume_run, submit_run};
use crate::state::AppState;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use domain::api::{JobChange, RunChange, RunDraftRequest, RunResumption, run_page};
use domain::id::{JobId, RunId};
use frontend::{EnteredRun, RefusedFields};
use leptos::prelude::provide_context;
use process::ambient;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Draws the page of a GET request. The second argument adds to the page's context.
pub(crate) type Renderer = Arc<
    dyn Fn(Request, Arc<dyn Fn() + Send + Sync>) -> Pin<Box<dyn Future<Output = Response> + Send>>
        + Send
        + Sync,
>;

/// The routes of these forms.
pub(crate) fn run_forms(state: &AppState, render: &Renderer) -> Router {
    let with_page = |form: fn(AppState, RunId, Form) -> Submission| {
        let render = Arc::clone(render);
        post(move |State(state): State<AppState>, Id(id): Id<RunId>, request: Request| async move {
            let headers = request.headers().clone();
            let fields = match Form::read(request, &state).await {
                Ok(fields) => fields,
                Err(error) => return error.into_response(),
            };
            let Submission { name, entered, outcome } = form(state, id, fields);
            match outcome.await {
                Ok(address) => Redirect::to(&address).into_response(),
                Err(error) => refuse(&render, &headers, &run_page(id), name, entered, error).await,
            }
        })
    };
    let new = {
        let render = Arc::clone(render);
        move |State(state): State<AppState>, request: Request| new_run(state, request, render)
    };
    Router::new()
        .route("/runs/{id}/change", with_page(change))
        .route("/runs/{id}/resume", with_page(resume))
        .route("/runs/{id}/delete", with_page(delete))
        .route(NEW_RUN, post(new))
        .route("/jobs/{id}/cancel", post(cancel))
        .route("/jobs/{id}/priority", post(priority))
        .with_state(state.clone())
}

/// A submitted form: its name on the page, what was entered, and the address that it leads to.
struct Submission {
    name: &'static str,
    entered: Vec<(String, String)>,
    outcome: Pin<Box<dyn Future<Output = Result<String, ApiError>> + Send>>,
}

/// The page at `address` again, with the error of one of its forms.
async fn refuse(
    render: &Renderer,
    headers: &HeaderMap,
    address: &str,
    form: &'static str,
    fields: Vec<(String, String)>,
    error: ApiError,
) -> Response {
    let Some(detail) = error.client_error() else { return error.into_response() };
    let status = error.status();
    let refused = RefusedFields { form, detail, fields };
    let mut response =
        draw(render, headers, address, Arc::new(move || provide_context(refused.clone()))).await;
    *response.status_mut() = status;
    response
}

/// The page at an address for the visitor with these headers, with more context.
async fn draw(
    render: &Renderer,
    headers: &HeaderMap,
    address: &str,
    context: Arc<dyn Fn() + Send + Sync>,
) -> Response {
    let mut page = Request::new(Body::empty());
    *page.method_mut() = Method::GET;
    *page.headers_mut() = headers.clone();
    *page.uri_mut() = match address.parse::<Uri>() {
        Ok(address) => address,
        Err(problem) => return ApiError::internal(problem).into_response(),
    };
    render(page, context).await
}

fn change(state: AppState, id: RunId, fields: Form) -> Submission {
    let tags = fields.text("tags").split([' ', ',', '\t']).filter(|tag| !tag.is_empty()).map(str::to_owned);
    let change = RunChange {
        name: Some(fields.text("name").trim().to_owned()),
        notes: Some(fields.text("notes").trim_end().replace("\r\n", "\n")),
        tags: Some(tags.collect()),
        pinned: Some(fields.get("pinned").is_some()),
        archived: Some(fields.get("archived").is_some()),
    };
    let outcome = async move {
        apply_run_change(&state, id, &change).await?;
        Ok::<_, ApiError>(run_page(id))
    };
    Submission { name: "change", entered: fields.into_fields(), outcome: Box::pin(outcome) }
}

fn resume(state: AppState, id: RunId, fields: Form) -> Submission {
    let steps = match fields.text("steps").trim() {
        "" => Ok(None),
        text => text.parse::<u32>().map(Some).map_err(|_| {
            ApiError::field("steps", format!("{text:?} is not a whole number from 1 to 10000000"))
        }),
    };
    let outcome = async move {
        resume_run(&state, id, &RunResumption { steps: steps? }).await?;
        Ok::<_, ApiError>(run_page(id))
    };
    Submission { name: "resume", entered: fields.into_fields(), outcome: Box::pin(outcome) }
}

fn delete(state: AppState, id: RunId, fields: Form) -> Submission {
    let outcome = async move {
        delete_run(State(state), Id(id)).await.map(drop)?;
        Ok::<_, ApiError>("/runs".to_owned())
    };
    Submission { name: "delete", entered: fields.into_fields(), outcome: Box::pin(outcome) }
}

/// The page of the form of a new run, and where it is posted.
const NEW_RUN: &str = "/runs/new";

/// Submits a new run, or shows its form again: after a check, with what was read from TOML, or with what is wrong.
async fn new_run(state: AppState, request: Request, render: Renderer) -> Response {
    let headers = request.headers().clone();
    let form = match Form::read(request, &state).await {
        Ok(form) => form,
        Err(error) => return error.into_response(),
    };
    let text = |name: &str| form.text(name).to_owned();
    let (action, toml, priority) = (text("action"), text("toml"), text("priority"));
    let fields: BTreeMap<String, String> = form
        .into_fields()
        .into_iter()
        .filter(|(name, value)| !["action", "toml", "priority"].contains(&name.as_str()) && !value.is_empty())
        .collect();
    let mut refused = None;
    if action == "submit" {
        let Err(error) = submitted(&state, &fields, &priority).await else {
            return Redirect::to("/runs#queue").into_response();
        };
        let Some(detail) = error.client_error() else { return error.into_response() };
        refused = Some((error.status(), detail.fields));
    }
    let request = match &*action {
        "toml" => RunDraftRequest { toml: Some(toml), ..RunDraftRequest::default() },
        _ => RunDraftRequest { fields: Some(fields), ..RunDraftRequest::default() },
    };
    let (status, refused) = refused.unzip();
    let entered = EnteredRun { request, priority, refused: refused.unwrap_or_default() };
    let mut response =
        draw(&render, &headers, NEW_RUN, Arc::new(move || provide_context(entered.clone()))).await;
    if let Some(status) = status {
        *response.status_mut() = status;
    }
    response
}

async fn submitted(
    state: &AppState,
    fields: &BTreeMap<String, String>,
    priority: &str,
) -> Result<(), ApiError> {
    let priority = match priority.trim() {
        "" => 0,
        text => whole_number("priority", text)?,
    };
    submit_run(state, fields, priority).await.map(drop)
}

fn whole_number(field: &str, text: &str) -> Result<i64, ApiError> {
    text.trim().parse().map_err(|_| ApiError::field(field, format!("{text:?} is not a whole number")))
}

/// Where the form was: a page of runs.
fn back(form: &Form) -> String {
    form.get("back").filter(|address| address.starts_with("/runs")).unwrap_or("/runs").to_owned()
}

/// Cancels a job. One that has ended meanwhile stays as it is.
async fn cancel(
    State(state): State<AppState>,
    Id(id): Id<JobId>,
    request: Request,
) -> Result<Redirect, ApiError> {
    let form = Form::read(request, &state).await?;
    let job = state.store.request_cancel(id, ambient::now()).await;
    unless_conflict(job.map(drop).map_err(ApiError::from))?;
    Ok(Redirect::to(&back(&form)))
}

/// Changes the priority of a job. One that was claimed meanwhile keeps its own.
async fn priority(
    State(state): State<AppState>,
    Id(id): Id<JobId>,
    request: Request,
) -> Result<Redirect, ApiError> {
    let form = Form::read(request, &state).await?;
    let priority = whole_number("priority", form.text("priority"))?;
    JobChange { priority }.validate()?;
    unless_conflict(state.store.set_priority(id, priority).await.map(drop).map_err(ApiError::from))?;
    Ok(Redirect::to(&back(&form)))
}

/// The outcome; a conflict is none, because the page shows what the job has become.
fn unless_conflict(outcome: Result<(), ApiError>) -> Result<(), ApiError> {
    match outcome {
        Err(error) if error.status() == StatusCode::CONFLICT => Ok(()),
        other => other,
    }
}
