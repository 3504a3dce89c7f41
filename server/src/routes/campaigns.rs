//! Campaigns: made, listed, watched, paused and closed.

use crate::error::ApiError;
use crate::extract::{Body, Id, Query};
use crate::routes::campaign_habits::add_habits;
use crate::routes::list_limit::{Limit, limit};
use crate::routes::question::named_models;
use crate::secret::{hashed, new_secret};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::api::{
    CampaignCreated, CampaignRater, CampaignResult, CampaignStateRequest, CampaignSummary, ErrorBody, Page,
    campaign_desk_page, campaign_page, path,
};
use domain::campaign::{Campaign, CampaignSpec, CampaignState};
use domain::id::{CampaignId, ModelId, RaterId};
use domain::matchmaking::shared_prompt;
use domain::pace::pace;
use domain::ranking::win_rate;
use process::ambient;
use serde::Deserialize;
use std::collections::HashMap;
use store::{PairVotes, RaterCounts};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OwnerQuery {
    /// The key that the response to `create_campaign` told.
    pub(crate) key: Option<String>,
}

/// List campaigns
#[utoipa::path(get, path = path::CAMPAIGNS, tag = "judging", operation_id = "list_campaigns", params(Limit), responses(
    (status = 200, description = "Campaigns, newest first.", body = Page<CampaignSummary>),
    (status = 422, description = "`limit` is out of range.", body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<Limit>,
) -> Result<Json<Page<CampaignSummary>>, ApiError> {
    state.store.close_ended_campaigns(ambient::now()).await?;
    let mut items = Vec::new();
    for campaign in state.store.list_campaigns(limit(query.limit)?).await? {
        items.push(summary(&state, campaign, Detail::Line).await?);
    }
    Ok(Json(Page { items }))
}

/// Make a campaign
///
/// It is open at once. Until it is closed, evaluation images of its models, and votes on them, are withheld from everybody: with
/// them a rater could find out which model made which image. The response tells a key once; with it the owner sees results.
#[utoipa::path(post, path = path::CAMPAIGNS, tag = "judging", operation_id = "create_campaign",
    request_body = CampaignSpec, responses(
    (status = 201, description = "The campaign. The `Location` header is its address.", body = CampaignCreated),
    (status = 409, description = "A campaign of this name exists.", body = ErrorBody),
    (status = 422, description = "A field has a value that is not accepted, or a model or image does not exist.", body = ErrorBody)))]
pub(crate) async fn create(
    State(state): State<AppState>,
    Body(spec): Body<CampaignSpec>,
) -> Result<impl IntoResponse, ApiError> {
    let created = make(&state, spec).await?;
    let url = path::CAMPAIGN.replace("{id}", &created.campaign.id.to_string());
    Ok((StatusCode::CREATED, [(header::LOCATION, url)], Json(created)))
}

/// Makes a campaign, for the API and for the form.
pub(crate) async fn make(state: &AppState, mut spec: CampaignSpec) -> Result<CampaignCreated, ApiError> {
    spec.validate()?;
    let now = ambient::now();
    if spec.ends_at.is_some_and(|end| end <= now) {
        return Err(ApiError::field("ends_at", "is in the past: use a later time, or leave the field out"));
    }
    let models = named_models(state, spec.models.iter().map(String::as_str)).await?;
    if models.len() != spec.models.len() {
        return Err(ApiError::field("models", "names a model twice: name each once"));
    }
    for (index, pair) in spec.gold.iter().enumerate() {
        let (a, b) = (state.store.get_image(pair.better).await?, state.store.get_image(pair.worse).await?);
        shared_prompt(a.as_ref(), b.as_ref())
            .map_err(|problems| ApiError::field(&format!("gold[{index}]"), problems.to_string()))?;
    }
    spec.models = models.iter().map(|model| model.name.clone()).collect();
    spec.name = spec.name.trim().to_owned();
    let models: Vec<ModelId> = models.into_iter().map(|model| model.id).collect();
    let id = CampaignId::new(now, ambient::entropy());
    let campaign = Campaign { id, spec, state: CampaignState::Open, created_at: now, closed_at: None };
    let owner_key = new_secret();
    state.store.insert_campaign(&campaign, &models, &hashed(&owner_key)).await?;
    Ok(CampaignCreated {
        owner_url: format!("{}?key={owner_key}", campaign_page(id)),
        judge_url: campaign_desk_page(id),
        campaign,
        owner_key,
    })
}

/// Get a campaign
///
/// With how far it is. Its owner, by `key`, also gets results, raters and invitations; when it is closed, everybody gets results.
#[utoipa::path(get, path = path::CAMPAIGN, tag = "judging", operation_id = "get_campaign",
    params(("id" = Uuid, Path, description = "Id of the campaign."), OwnerQuery), responses(
    (status = 200, description = "The campaign and how far it is.", body = CampaignSummary),
    (status = 404, description = "There is no such campaign.", body = ErrorBody),
    (status = 422, description = "`key` is not the key of this campaign.", body = ErrorBody)))]
pub(crate) async fn one(
    State(state): State<AppState>,
    Id(id): Id<CampaignId>,
    Query(OwnerQuery { key }): Query<OwnerQuery>,
) -> Result<Json<CampaignSummary>, ApiError> {
    state.store.close_ended_campaigns(ambient::now()).await?;
    let campaign = find(&state, id).await?;
    let is_owner = key.is_some();
    if let Some(key) = key {
        require_owner(&state, id, &key).await?;
    }
    let detail = if is_owner { Detail::OwnersPage } else { Detail::Page };
    summary(&state, campaign, detail).await.map(Json)
}

/// Open, pause or close a campaign
///
/// Everybody with access to this site may: a paused campaign withholds what an open one withholds, and closing, which is final,
/// leaves nothing to judge and therefore nothing to hide.
#[utoipa::path(post, path = path::CAMPAIGN_STATE, tag = "judging", operation_id = "set_campaign_state",
    params(("id" = Uuid, Path, description = "Id of the campaign.")),
    request_body = CampaignStateRequest, responses(
    (status = 200, description = "The campaign and how far it is.", body = CampaignSummary),
    (status = 404, description = "There is no such campaign.", body = ErrorBody),
    (status = 409, description = "The campaign is closed, which is final.", body = ErrorBody)))]
pub(crate) async fn set_state(
    State(state): State<AppState>,
    Id(id): Id<CampaignId>,
    Body(CampaignStateRequest { state: wanted }): Body<CampaignStateRequest>,
) -> Result<Json<CampaignSummary>, ApiError> {
    state.store.set_campaign_state(id, wanted, ambient::now()).await?;
    summary(&state, find(&state, id).await?, Detail::Page).await.map(Json)
}

/// The campaign, or 404.
pub(crate) async fn find(state: &AppState, id: CampaignId) -> Result<Campaign, ApiError> {
    state.store.get_campaign(id).await?.ok_or_else(|| ApiError::not_found("campaign"))
}

/// Fails with 422 unless this is the key of the campaign's owner.
pub(crate) async fn require_owner(state: &AppState, id: CampaignId, key: &str) -> Result<(), ApiError> {
    if state.store.is_campaign_owner(id, &hashed(key)).await? {
        return Ok(());
    }
    Err(ApiError::field("key", "is not the key of this campaign: use the one that its creation told"))
}

/// The name that stands for a rater in a campaign: the same for all its answers, and another in every campaign.
pub(crate) fn pseudonym(campaign: CampaignId, rater: RaterId) -> String {
    format!("rater-{}", &files::sha256::of_bytes(format!("{campaign} {rater}").as_bytes())[..8])
}

/// What a summary is for.
#[derive(Clone, Copy, PartialEq)]
enum Detail {
    /// A line of the list.
    Line,
    /// The campaign's page.
    Page,
    /// The page as its owner sees it.
    OwnersPage,
}

async fn summary(
    state: &AppState,
    mut campaign: Campaign,
    detail: Detail,
) -> Result<CampaignSummary, ApiError> {
    let store = &state.store;
    let is_owner = detail == Detail::OwnersPage;
    let models = store.campaign_models(campaign.id).await?;
    let items = i64::try_from(store.count_items(&campaign, &models).await?).unwrap_or(i64::MAX);
    let counts = store.campaign_counts(campaign.id).await?;
    let needed = items.saturating_mul(campaign.spec.raters_per_item.into());
    let wanted = campaign.spec.votes.map_or(needed, |votes| needed.min(votes.into()));
    let shows_results = is_owner || campaign.state == CampaignState::Closed;
    let results = if shows_results { results(state, &campaign).await? } else { Vec::new() };
    let shows_pace = shows_results && detail != Detail::Line;
    let answers = if shows_pace { store.campaign_answers(campaign.id).await? } else { Vec::new() };
    let times: Vec<_> = answers.iter().filter(|answer| answer.is_vote).map(|answer| answer.at).collect();
    let (mut people, mut invitations) = (Vec::new(), Vec::new());
    if is_owner {
        for counts in store.campaign_raters(campaign.id).await? {
            let rater = counts.rater;
            let mut person = person(campaign.id, counts);
            add_habits(&mut person, rater, &answers);
            people.push(person);
        }
        invitations = store.list_invitations(campaign.id).await?;
    } else {
        campaign.spec.hide_from_raters();
    }
    let (votes, raters) = (counts.votes, counts.raters);
    let pace = pace(&times);
    Ok(CampaignSummary { campaign, votes, wanted, items, raters, results, people, pace, invitations })
}

async fn results(state: &AppState, campaign: &Campaign) -> Result<Vec<CampaignResult>, ApiError> {
    let contestants = state.store.list_contestants().await?;
    let names: HashMap<_, _> = contestants.into_iter().map(|known| (known.id, known.name)).collect();
    let name = |id| names.get(&id).cloned().unwrap_or_else(|| "a deleted model".to_owned());
    let mut results = Vec::new();
    for &question in &campaign.spec.questions {
        for tally in state.store.campaign_tallies(campaign.id, question).await? {
            let PairVotes { a, b, wins_a, wins_b, ties, both_bad } = tally;
            results.push(CampaignResult {
                question,
                model: name(a),
                against: name(b),
                wins: wins_a,
                losses: wins_b,
                ties,
                both_bad,
                win_rate: win_rate(wins_a, wins_b, ties + both_bad),
            });
        }
    }
    Ok(results)
}

fn person(campaign: CampaignId, counts: RaterCounts) -> CampaignRater {
    let RaterCounts { rater, external_id, votes, checks } = counts;
    CampaignRater {
        pseudonym: pseudonym(campaign, rater),
        external_id,
        votes,
        exam_right: checks.exam_right,
        exam_answered: checks.exam_answered,
        gold_right: checks.gold_right,
        gold_answered: checks.gold_answered,
        repeats_same: checks.repeats_same,
        repeats_answered: checks.repeats_answered,
        left: 0,
        right: 0,
        seconds: None,
    }
}
