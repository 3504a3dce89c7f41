//! Client of the HTTP API, and the only file of this crate that sends requests. On the server a call goes straight into
//! the API's router, with the visitor's cookie and authorization; in the browser the same function is a `fetch`.

#[cfg(feature = "ssr")]
use crate::components::run_row::RowPage;
use crate::format::query;
use domain::api::{
    DeskRanking, DeskRequest, DeskVote, ErrorBody, ErrorDetail, NextMatchup, Page, RunSample, RunSeries,
    VoteRequest, VoteResponse, path,
};
use domain::id::{CampaignId, JobId, MatchupId, RunId};
use domain::preference::{Choice, Question};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
#[cfg(feature = "ssr")]
use {
    domain::api::{
        Agreement, CampaignItem, CampaignSummary, DataCheckRequest, DataCheckResponse, DatasetPair,
        DatasetPairs, DatasetSummary, EvaluationDetail, EventCursor, GoldCandidate, Leaderboard, ModelDetail,
        ModelSummary, Overview, OwnVote, RunChoices, RunDetail, RunDraft, RunDraftRequest, RunLineage,
        RunPage, ServerSettings,
    },
    domain::id::{ModelId, StudyId},
    domain::image::{Image, Purpose},
    domain::job::Job,
    domain::log::LogLine,
    domain::study::{StudyOverview, StudySummary},
    domain::usage::RunUsage,
    domain::worker::Worker,
    serde_json::Value,
};

/// A failed call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The HTTP status, or 0 if no response arrived.
    pub(crate) status: u16,
    pub(crate) detail: ErrorDetail,
}

impl Failure {
    fn new(status: u16, message: String) -> Self {
        Self { status, detail: ErrorDetail { code: "unreadable".into(), message, fields: Vec::new() } }
    }

    /// The failure of a page whose address names nothing, without a call.
    #[cfg(feature = "ssr")]
    pub(crate) fn not_found(message: String) -> Self {
        Self { status: 404, detail: ErrorDetail { code: "not_found".into(), message, fields: Vec::new() } }
    }
}

pub(crate) type ApiResult<T> = Result<T, Failure>;

/// A page of the list of runs, in the parts that the list shows.
#[cfg(feature = "ssr")]
pub(crate) async fn run_rows(query: &str) -> ApiResult<RowPage> {
    get(&format!("{}?{query}", path::RUNS)).await
}

/// The newest runs, newest first.
#[cfg(feature = "ssr")]
pub(crate) async fn runs() -> ApiResult<RunPage> {
    get(path::RUNS).await
}

/// The fields of a training spec, filled in.
#[cfg(feature = "ssr")]
pub(crate) async fn draft_run(request: &RunDraftRequest) -> ApiResult<RunDraft> {
    post(path::RUN_DRAFT, request).await
}

/// What the list of runs can be filtered by.
#[cfg(feature = "ssr")]
pub(crate) async fn run_choices() -> ApiResult<RunChoices> {
    get(path::RUN_CHOICES).await
}

/// The newest jobs, newest first.
#[cfg(feature = "ssr")]
pub(crate) async fn jobs() -> ApiResult<Page<Job>> {
    get(path::JOBS).await
}

/// Where the events of now begin.
#[cfg(feature = "ssr")]
pub(crate) async fn event_cursor() -> ApiResult<String> {
    get(path::EVENT_CURSOR).await.map(|now: EventCursor| now.cursor)
}

/// Curves of a run in buckets. `fields` is the query.
pub(crate) async fn run_series(id: RunId, fields: &str) -> ApiResult<RunSeries> {
    get(&format!("{}?{fields}", with_id(path::RUN_SERIES, &id.to_string()))).await
}

pub(crate) async fn run_samples(id: RunId) -> ApiResult<Page<RunSample>> {
    get(&with_id(path::RUN_SAMPLES, &id.to_string())).await
}

/// Requests that a job stops. The job in the response is not read: its specs are most of the code that reads JSON.
pub(crate) async fn cancel_job(id: JobId) -> ApiResult<IgnoredAny> {
    post(&with_id(path::JOB_CANCEL, &id.to_string()), &serde_json::json!({})).await
}

/// The matchup that this rater judges next. `models`: names or ids, separated by commas; empty for all models.
pub(crate) async fn next_matchup(question: Question, models: &str) -> ApiResult<NextMatchup> {
    get(&format!("{}&models={}", with_question(path::MATCHUP_NEXT, question), query(models))).await
}

fn with_question(path: &str, question: Question) -> String {
    format!("{path}?question={}", question.as_str())
}

/// What the visitor judges next in a campaign.
pub(crate) async fn campaign_desk(id: &str) -> ApiResult<NextMatchup> {
    get(&with_id(path::CAMPAIGN_DESK, &query(id))).await
}

/// The address of an action on a pair at a campaign's desk.
fn desk_address(path: &str, campaign: CampaignId, item: MatchupId) -> String {
    with_id(path, &campaign.to_string()).replace("{item}", &item.to_string())
}

/// Votes on a pair of a campaign, or skips it.
pub(crate) async fn answer_in_campaign(
    campaign: CampaignId,
    item: MatchupId,
    choice: Option<Choice>,
) -> ApiResult<NextMatchup> {
    match choice {
        Some(choice) => post(&desk_address(path::DESK_VOTE, campaign, item), &DeskVote { choice }).await,
        None => post(&desk_address(path::DESK_SKIP, campaign, item), &DeskRequest::default()).await,
    }
}

/// Picks the best image of a set of a campaign, or ranks several.
pub(crate) async fn rank_in_campaign(
    campaign: CampaignId,
    item: MatchupId,
    order: Vec<u8>,
) -> ApiResult<NextMatchup> {
    post(&desk_address(path::DESK_RANK, campaign, item), &DeskRanking { order }).await
}

/// Takes back the visitor's last answer in a campaign.
pub(crate) async fn undo_in_campaign(campaign: CampaignId, item: MatchupId) -> ApiResult<NextMatchup> {
    post(&desk_address(path::DESK_UNDO, campaign, item), &DeskRequest::default()).await
}

/// Votes on a matchup. A repetition of a vote that has arrived fails with 409.
pub(crate) async fn vote(matchup: MatchupId, request: &VoteRequest) -> ApiResult<VoteResponse> {
    post(&with_id(path::MATCHUP_VOTE, &matchup.to_string()), request).await
}

/// Skips a matchup.
pub(crate) async fn skip(matchup: MatchupId, request: &DeskRequest) -> ApiResult<NextMatchup> {
    post(&with_id(path::MATCHUP_SKIP, &matchup.to_string()), request).await
}

/// Takes back the visitor's last vote or skip, which must be the one on this matchup.
pub(crate) async fn undo(matchup: MatchupId, request: &DeskRequest) -> ApiResult<NextMatchup> {
    post(&with_id(path::MATCHUP_UNDO, &matchup.to_string()), request).await
}

/// The newest campaigns, newest first.
#[cfg(feature = "ssr")]
pub(crate) async fn campaigns() -> ApiResult<Page<CampaignSummary>> {
    get(path::CAMPAIGNS).await
}

/// A campaign. With the owner's key, also what is withheld from others.
#[cfg(feature = "ssr")]
pub(crate) async fn campaign(id: &str, key: &str) -> ApiResult<CampaignSummary> {
    get(&format!("{}?key={}", with_id(path::CAMPAIGN, &segment(id)), query(key))).await
}

/// The judged pairs of a closed campaign, the most disputed first.
#[cfg(feature = "ssr")]
pub(crate) async fn campaign_items(id: &str) -> ApiResult<Page<CampaignItem>> {
    get(&with_id(path::CAMPAIGN_ITEMS, &segment(id))).await
}

/// Pairs of images that could become pairs with a known answer.
#[cfg(feature = "ssr")]
pub(crate) async fn gold_candidates(models: &str, metric: &str) -> ApiResult<Page<GoldCandidate>> {
    get(&format!("{}?models={}&metric={}", path::GOLD_CANDIDATES, query(models), query(metric))).await
}

/// The visitor's own votes in a campaign, newest first.
#[cfg(feature = "ssr")]
pub(crate) async fn own_votes(id: &str) -> ApiResult<Page<OwnVote>> {
    get(&with_id(path::CAMPAIGN_HISTORY, &segment(id))).await
}

#[cfg(feature = "ssr")]
pub(crate) async fn run(id: RunId) -> ApiResult<RunDetail> {
    get(&with_id(path::RUN, &id.to_string())).await
}

/// What a run started from, what started from it, and how its model scores against its base.
#[cfg(feature = "ssr")]
pub(crate) async fn run_lineage(id: RunId) -> ApiResult<RunLineage> {
    get(&with_id(path::RUN_LINEAGE, &id.to_string())).await
}

/// The last lines of a run's log, oldest first.
#[cfg(feature = "ssr")]
pub(crate) async fn run_log(id: RunId, limit: u32) -> ApiResult<Page<LogLine>> {
    get(&format!("{}?limit={limit}", with_id(path::RUN_LOG, &id.to_string()))).await
}

/// What a run takes of its worker.
#[cfg(feature = "ssr")]
pub(crate) async fn run_usage(id: RunId) -> ApiResult<RunUsage> {
    get(&with_id(path::RUN_USAGE, &id.to_string())).await
}

/// The newest studies, newest first.
#[cfg(feature = "ssr")]
pub(crate) async fn studies() -> ApiResult<Page<StudyOverview>> {
    get(path::STUDIES).await
}

/// The runs of a study, in the order in which they were submitted.
#[cfg(feature = "ssr")]
pub(crate) async fn study_runs(id: &str) -> ApiResult<Vec<RunId>> {
    get(&with_id(path::STUDY_RUNS, &segment(id))).await
}

#[cfg(feature = "ssr")]
pub(crate) async fn study(id: StudyId) -> ApiResult<StudySummary> {
    get(&with_id(path::STUDY, &id.to_string())).await
}

/// The newest models, newest first.
#[cfg(feature = "ssr")]
pub(crate) async fn models() -> ApiResult<Page<ModelSummary>> {
    get(path::MODELS).await
}

#[cfg(feature = "ssr")]
pub(crate) async fn model_detail(id: ModelId) -> ApiResult<ModelDetail> {
    get(&with_id(path::MODEL_DETAIL, &id.to_string())).await
}

/// The newest images of a model with this purpose, newest first.
#[cfg(feature = "ssr")]
pub(crate) async fn images_of_model(id: ModelId, purpose: Purpose, limit: u32) -> ApiResult<Page<Image>> {
    get(&format!("{}?model={id}&purpose={}&limit={limit}", path::IMAGES, purpose.as_str())).await
}

/// Images that users requested, whose prompt contains `search`, older than `before`; newest first.
#[cfg(feature = "ssr")]
pub(crate) async fn requested_images(search: &str, before: &str, limit: usize) -> ApiResult<Page<Image>> {
    let purpose = Purpose::Generation.as_str();
    let before = if before.is_empty() { String::new() } else { format!("&before={}", query(before)) };
    get(&format!("{}?purpose={purpose}&prompt={}&limit={limit}{before}", path::IMAGES, query(search))).await
}

/// Evaluations older than `before`, newest first.
#[cfg(feature = "ssr")]
pub(crate) async fn evaluations(before: Option<JobId>, limit: u32) -> ApiResult<Page<Job>> {
    let before = before.map(|id| format!("&before={id}")).unwrap_or_default();
    get(&format!("{}?limit={limit}{before}", path::EVALUATIONS)).await
}

#[cfg(feature = "ssr")]
pub(crate) async fn evaluation(id: JobId) -> ApiResult<EvaluationDetail> {
    get(&with_id(path::EVALUATION, &id.to_string())).await
}

#[cfg(feature = "ssr")]
pub(crate) async fn workers() -> ApiResult<Page<Worker>> {
    get(path::WORKERS).await
}

/// What is going on.
#[cfg(feature = "ssr")]
pub(crate) async fn overview() -> ApiResult<Overview> {
    get(path::OVERVIEW).await
}

#[cfg(feature = "ssr")]
pub(crate) async fn datasets() -> ApiResult<Page<DatasetSummary>> {
    get(path::DATASETS).await
}

/// Pairs of a dataset. `fields` is the query.
#[cfg(feature = "ssr")]
pub(crate) async fn dataset_pairs(name: &str, fields: &str) -> ApiResult<DatasetPairs> {
    get(&format!("{}?{fields}", path::DATASET_PAIRS.replace("{name}", &segment(name)))).await
}

/// What a dataset holds.
#[cfg(feature = "ssr")]
pub(crate) async fn dataset_report(name: &str) -> ApiResult<DataCheckResponse> {
    get(&path::DATASET_REPORT.replace("{name}", &segment(name))).await
}

#[cfg(feature = "ssr")]
pub(crate) async fn check_data(spec: &str) -> ApiResult<DataCheckResponse> {
    post(path::DATA_CHECK, &DataCheckRequest { spec: spec.to_owned() }).await
}

#[cfg(feature = "ssr")]
pub(crate) async fn dataset_pair(name: &str, index: u64) -> ApiResult<DatasetPair> {
    let address = path::DATASET_PAIR.replace("{name}", &segment(name));
    get(&address.replace("{index}", &index.to_string())).await
}

/// Percent-encodes a name as one path segment, in which `+` does not mean a space.
#[cfg(feature = "ssr")]
fn segment(name: &str) -> String {
    query(name).replace('+', "%20")
}

#[cfg(feature = "ssr")]
pub(crate) async fn leaderboard(question: Question) -> ApiResult<Leaderboard> {
    get(&with_question(path::LEADERBOARD, question)).await
}

/// Head-to-head win rates, agreement between raters, and agreement of metrics with raters.
#[cfg(feature = "ssr")]
pub(crate) async fn agreement(question: Question) -> ApiResult<Agreement> {
    get(&with_question(path::AGREEMENT, question)).await
}

/// What the server is configured with.
#[cfg(feature = "ssr")]
pub(crate) async fn settings() -> ApiResult<ServerSettings> {
    get(path::SETTINGS).await
}

#[cfg(feature = "ssr")]
pub(crate) async fn openapi() -> ApiResult<Value> {
    get(path::OPENAPI).await
}

/// The URL of an image's PNG.
pub(crate) fn image_url(id: domain::id::ImageId) -> String {
    with_id(path::IMAGE_FILE, &id.to_string())
}

fn with_id(path: &str, id: &str) -> String {
    path.replace("{id}", id)
}

async fn get<T: DeserializeOwned>(address: &str) -> ApiResult<T> {
    decode(send(address, None).await)
}

async fn post<T: DeserializeOwned>(address: &str, body: &impl Serialize) -> ApiResult<T> {
    let body = serde_json::to_string(body).map_err(|e| Failure::new(0, e.to_string()))?;
    decode(send(address, Some(body)).await)
}

fn decode<T: DeserializeOwned>(response: Result<(u16, String), String>) -> ApiResult<T> {
    let (status, text) = response.map_err(|e| {
        Failure::new(0, format!("No response from the server ({e}). Check that it is running, then reload."))
    })?;
    if (200..300).contains(&status) {
        return serde_json::from_str(&text).map_err(|e| {
            let message = format!("The response of the server could not be read ({e}). Reload the page.");
            Failure::new(status, message)
        });
    }
    match serde_json::from_str::<ErrorBody>(&text) {
        Ok(body) => Err(Failure { status, detail: body.error }),
        Err(_) => Err(Failure::new(status, format!("The server responded with status {status}."))),
    }
}

/// The API's router. The server provides it in the context of every page.
#[cfg(feature = "ssr")]
#[derive(Clone)]
pub struct Api(pub axum::Router);

#[cfg(feature = "ssr")]
async fn send(address: &str, body: Option<String>) -> Result<(u16, String), String> {
    use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
    use leptos::prelude::use_context;
    use tower::ServiceExt;

    let Api(router) = use_context::<Api>().ok_or("the page's context has no API router")?;
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
