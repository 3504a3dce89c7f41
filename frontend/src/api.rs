//! The only file that speaks HTTP. One signature, two bodies: on the server a call goes straight into the API's
//! router, with the visitor's cookie; in the browser it is a fetch. Either way there is one door to every action.

use domain::api::{
    BlindMatchup, ErrorBody, ErrorDetail, GenerateRequest, GenerateResponse, NextMatchup, Page, RunMetrics,
    RunSample, RunSummary, VoteRequest, VoteResponse, path,
};
use domain::id::{JobId, RunId};
use domain::job::Job;
use domain::preference::Question;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
#[cfg(feature = "ssr")]
use {
    domain::api::{
        Agreement, DatasetPair, DatasetPairs, DatasetSummary, Leaderboard, ModelSummary, RunDetail,
    },
    serde_json::Value,
};

/// Why a call gave nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The HTTP status; 0 when nothing answered.
    pub(crate) status: u16,
    /// What the server says.
    pub(crate) detail: ErrorDetail,
}

impl Failure {
    fn new(status: u16, message: String) -> Self {
        Self { status, detail: ErrorDetail { code: "unreadable".into(), message, fields: Vec::new() } }
    }
}

/// A call's outcome.
pub(crate) type Answer<T> = Result<T, Failure>;

/// Runs, newest first.
pub(crate) async fn runs() -> Answer<Page<RunSummary>> {
    get(path::RUNS).await
}

/// Jobs, newest first.
pub(crate) async fn jobs() -> Answer<Page<Job>> {
    get(path::JOBS).await
}

/// A run's curves after a step; all of them after -1.
pub(crate) async fn run_metrics(id: RunId, after: i64) -> Answer<RunMetrics> {
    let address = with_id(path::RUN_METRICS, &id.to_string());
    if after < 0 { get(&address).await } else { get(&format!("{address}?after={after}")).await }
}

/// A run's sample images.
pub(crate) async fn run_samples(id: RunId) -> Answer<Page<RunSample>> {
    get(&with_id(path::RUN_SAMPLES, &id.to_string())).await
}

/// Asks a job to stop.
pub(crate) async fn cancel_job(id: JobId) -> Answer<Job> {
    post(&with_id(path::JOB_CANCEL, &id.to_string()), &serde_json::json!({})).await
}

/// An image from a prompt.
pub(crate) async fn generate(request: &GenerateRequest) -> Answer<GenerateResponse> {
    post(path::GENERATE, request).await
}

/// The next matchup of this rater by a question.
pub(crate) async fn next_matchup(question: Question) -> Answer<NextMatchup> {
    get(&asked(path::MATCHUP_NEXT, question)).await
}

fn asked(path: &str, question: Question) -> String {
    format!("{path}?question={}", question.as_str())
}

/// Votes.
pub(crate) async fn vote(matchup: &BlindMatchup, request: &VoteRequest) -> Answer<VoteResponse> {
    post(&with_id(path::MATCHUP_VOTE, &matchup.id.to_string()), request).await
}

/// One run with its job and models.
#[cfg(feature = "ssr")]
pub(crate) async fn run(id: RunId) -> Answer<RunDetail> {
    get(&with_id(path::RUN, &id.to_string())).await
}

/// Models, newest first.
#[cfg(feature = "ssr")]
pub(crate) async fn models() -> Answer<Page<ModelSummary>> {
    get(path::MODELS).await
}

/// Sets of pairs.
#[cfg(feature = "ssr")]
pub(crate) async fn datasets() -> Answer<Page<DatasetSummary>> {
    get(path::DATASETS).await
}

/// Pairs of a set from a place on, whose prompt and model contain these texts.
#[cfg(feature = "ssr")]
pub(crate) async fn dataset_pairs(name: &str, from: u64, prompt: &str, model: &str) -> Answer<DatasetPairs> {
    use crate::format::query;
    let address = path::DATASET_PAIRS.replace("{name}", &segment(name));
    get(&format!("{address}?from={from}&prompt={}&model={}", query(prompt), query(model))).await
}

/// One pair of a set.
#[cfg(feature = "ssr")]
pub(crate) async fn dataset_pair(name: &str, index: u64) -> Answer<DatasetPair> {
    let address = path::DATASET_PAIR.replace("{name}", &segment(name));
    get(&address.replace("{index}", &index.to_string())).await
}

/// A name as a piece of a path.
#[cfg(feature = "ssr")]
fn segment(name: &str) -> String {
    crate::format::query(name).replace('+', "%20")
}

/// Ratings and scores.
#[cfg(feature = "ssr")]
pub(crate) async fn leaderboard(question: Question) -> Answer<Leaderboard> {
    get(&asked(path::LEADERBOARD, question)).await
}

/// Who beats whom, and who agrees with whom.
#[cfg(feature = "ssr")]
pub(crate) async fn agreement(question: Question) -> Answer<Agreement> {
    get(&asked(path::AGREEMENT, question)).await
}

/// The OpenAPI document.
#[cfg(feature = "ssr")]
pub(crate) async fn openapi() -> Answer<Value> {
    get(path::OPENAPI).await
}

/// The address of an image's bytes.
pub(crate) fn image_url(id: domain::id::ImageId) -> String {
    with_id(path::IMAGE_FILE, &id.to_string())
}

fn with_id(path: &str, id: &str) -> String {
    path.replace("{id}", id)
}

async fn get<T: DeserializeOwned>(address: &str) -> Answer<T> {
    understand(send(address, None).await)
}

async fn post<T: DeserializeOwned>(address: &str, body: &impl Serialize) -> Answer<T> {
    let body = serde_json::to_string(body).map_err(|e| Failure::new(0, e.to_string()))?;
    understand(send(address, Some(body)).await)
}

fn understand<T: DeserializeOwned>(answer: Result<(u16, String), String>) -> Answer<T> {
    let (status, text) = answer
        .map_err(|e| Failure::new(0, format!("The server did not answer ({e}). Is it still running?")))?;
    if (200..300).contains(&status) {
        return serde_json::from_str(&text)
            .map_err(|e| Failure::new(status, format!("Unexpected answer: {e}")));
    }
    match serde_json::from_str::<ErrorBody>(&text) {
        Ok(body) => Err(Failure { status, detail: body.error }),
        Err(_) => Err(Failure::new(status, format!("The server answered with status {status}."))),
    }
}

/// The API's router, put into the context of every page by the server.
#[cfg(feature = "ssr")]
#[derive(Clone)]
pub struct Api(pub axum::Router);

#[cfg(feature = "ssr")]
async fn send(address: &str, body: Option<String>) -> Result<(u16, String), String> {
    use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
    use leptos::prelude::use_context;
    use tower::ServiceExt;

    let Api(router) = use_context::<Api>().ok_or("no API in the page's context")?;
    let visitor = use_context::<axum::http::request::Parts>();
    let page = use_context::<leptos_axum::ResponseOptions>();
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut request = axum::http::Request::builder()
        .method(method)
        .uri(address)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/json");
    for name in [COOKIE, AUTHORIZATION] {
        if let Some(value) = visitor.as_ref().and_then(|visitor| visitor.headers.get(&name)) {
            request = request.header(name, value);
        }
    }
    let request =
        request.body(axum::body::Body::from(body.unwrap_or_default())).map_err(|e| e.to_string())?;
    let response = router.oneshot(request).await.map_err(|e| e.to_string())?;
    for cookie in response.headers().get_all(SET_COOKIE) {
        if let Some(page) = &page {
            page.append_header(SET_COOKIE, cookie.clone());
        }
    }
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.map_err(|e| e.to_string())?;
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(not(feature = "ssr"))]
async fn send(address: &str, body: Option<String>) -> Result<(u16, String), String> {
    use gloo_net::http::{Method, RequestBuilder};

    let method = if body.is_some() { Method::POST } else { Method::GET };
    let request = RequestBuilder::new(address)
        .method(method)
        .header("Accept", "application/json")
        .header("Content-Type", "application/json");
    let response = match body {
        Some(body) => request.body(body).map_err(|e| e.to_string())?.send().await,
        None => request.send().await,
    }
    .map_err(|e| e.to_string())?;
    let status = response.status();
    Ok((status, response.text().await.map_err(|e| e.to_string())?))
}
