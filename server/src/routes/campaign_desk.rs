//! The desk of a campaign: what its rater gets, and answers. An invitation opens exactly these routes, so each checks that the
//! pair was drawn for the rater in the campaign of its path.

use crate::error::ApiError;
use crate::extract::{Body, Id};
use crate::rater::Rater;
use crate::routes::campaigns::{find, pseudonym};
use crate::routes::file_schema::File;
use crate::routes::images;
use crate::routes::matchups::PRELOADED;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::api::{BlindMatchup, CampaignDesk, DeskRequest, DeskVote, ErrorBody, NextMatchup, path};
use domain::campaign::{CampaignState, Ending, Reveal, passed};
use domain::id::{CampaignId, MatchupId, RaterId, VoteId};
use domain::preference::{Choice, Vote};
use domain::sets::complete_order;
use process::ambient;
use store::{Conflict, DeskItem, ItemKind, StoreError};

/// Get what a rater judges next in a campaign
///
/// The same pair until it is answered; none before the rater has agreed to take part, after a failed exam, and while the campaign
/// is not open. Nothing in the response tells the models, or which pairs are checks.
#[utoipa::path(get, path = path::CAMPAIGN_DESK, tag = "judging", operation_id = "get_campaign_desk",
    params(("id" = Uuid, Path, description = "Id of the campaign.")), responses(
    (status = 200, description = "The pair, what follows, and how far the rater is.", body = NextMatchup),
    (status = 404, description = "There is no such campaign.", body = ErrorBody)))]
pub(crate) async fn next(
    State(state): State<AppState>,
    rater: Rater,
    Id(id): Id<CampaignId>,
) -> Result<(Rater, Json<NextMatchup>), ApiError> {
    state.store.close_ended_campaigns(ambient::now()).await?;
    Ok((rater, Json(desk(&state, id, rater.id).await?)))
}

/// Get an image of a pair of a campaign
///
/// Only for the rater for whom the pair was drawn. Neither the address nor the response identifies the model.
#[utoipa::path(get, path = path::DESK_SIDE, tag = "judging", operation_id = "get_campaign_image",
    params(
        ("id" = Uuid, Path, description = "Id of the campaign."),
        ("item" = Uuid, Path, description = "Id of the pair."),
        ("side" = String, Path, description = "`left` or `right`; of a set also `third` or `fourth`.",
            pattern = "^(left|right|third|fourth)$"),
    ),
    responses(
        (status = 200, description = "The PNG file.", content_type = "image/png", body = File),
        (status = 404, description = "There is no such pair of this rater, or no such side.", body = ErrorBody)))]
pub(crate) async fn side(
    State(state): State<AppState>,
    rater: Rater,
    Path((id, item, side)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let missing = || ApiError::not_found("side of a pair that was drawn for this rater");
    let (id, item) = ids(&id, &item)?;
    let item = state.store.get_desk_item(id, rater.id, item).await?.ok_or_else(missing)?;
    let image = match side.as_str() {
        "left" => item.left,
        "right" => item.right,
        "third" => *item.more.first().ok_or_else(missing)?,
        "fourth" => *item.more.get(1).ok_or_else(missing)?,
        _ => return Err(missing()),
    };
    let image = state.store.get_image(image).await?.ok_or_else(missing)?;
    images::blind_bytes(&state, &image).await
}

/// Vote on a pair of a campaign
///
/// The response is what the rater judges next. A request that got no response can be repeated: the vote counts once.
#[utoipa::path(post, path = path::DESK_VOTE, tag = "judging", operation_id = "vote_in_campaign",
    params(
        ("id" = Uuid, Path, description = "Id of the campaign."),
        ("item" = Uuid, Path, description = "Id of the pair."),
    ),
    request_body = DeskVote, responses(
    (status = 201, description = "The vote is counted.", body = NextMatchup),
    (status = 404, description = "There is no such pair of this rater.", body = ErrorBody),
    (status = 409, description = "The pair has been answered (the first answer counts), or the campaign is not open.", body = ErrorBody),
    (status = 422, description = "The item is a set of more images, which is answered by an order.", body = ErrorBody)))]
pub(crate) async fn vote(
    State(state): State<AppState>,
    rater: Rater,
    Path((id, item)): Path<(String, String)>,
    Body(DeskVote { choice }): Body<DeskVote>,
) -> Result<impl IntoResponse, ApiError> {
    let (id, item) = ids(&id, &item)?;
    let next = answer(&state, id, rater.id, item, Some(choice)).await?;
    Ok((StatusCode::CREATED, rater, Json(next)))
}

/// Skip a pair of a campaign
///
/// The rater does not get it again.
#[utoipa::path(post, path = path::DESK_SKIP, tag = "judging", operation_id = "skip_in_campaign",
    params(
        ("id" = Uuid, Path, description = "Id of the campaign."),
        ("item" = Uuid, Path, description = "Id of the pair."),
    ),
    request_body = DeskRequest, responses(
    (status = 200, description = "What the rater judges next.", body = NextMatchup),
    (status = 404, description = "There is no such pair of this rater.", body = ErrorBody),
    (status = 409, description = "The pair has been answered, or the campaign is not open.", body = ErrorBody)))]
pub(crate) async fn skip(
    State(state): State<AppState>,
    rater: Rater,
    Path((id, item)): Path<(String, String)>,
    Body(_): Body<DeskRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let (id, item) = ids(&id, &item)?;
    let next = answer(&state, id, rater.id, item, None).await?;
    Ok((rater, Json(next)))
}

/// Take back the last answer in a campaign
///
/// Answers of an exam are final.
#[utoipa::path(post, path = path::DESK_UNDO, tag = "judging", operation_id = "undo_in_campaign",
    params(
        ("id" = Uuid, Path, description = "Id of the campaign."),
        ("item" = Uuid, Path, description = "Id of the pair."),
    ),
    request_body = DeskRequest, responses(
    (status = 200, description = "The pair, open again.", body = NextMatchup),
    (status = 404, description = "The rater has not answered such a pair.", body = ErrorBody),
    (status = 409, description = "The rater has answered another pair since, or the campaign is not open.", body = ErrorBody)))]
pub(crate) async fn undo(
    State(state): State<AppState>,
    rater: Rater,
    Path((id, item)): Path<(String, String)>,
    Body(_): Body<DeskRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let (id, item) = ids(&id, &item)?;
    let next = take_back(&state, id, rater.id, item).await?;
    Ok((rater, Json(next)))
}

/// Takes back the last answer, for the API and for the form.
pub(crate) async fn take_back(
    state: &AppState,
    id: CampaignId,
    rater: RaterId,
    item: MatchupId,
) -> Result<NextMatchup, ApiError> {
    require_open(state, id).await?;
    let known = state.store.get_desk_item(id, rater, item).await?;
    known.ok_or_else(|| ApiError::not_found("pair that was drawn for this rater"))?;
    state.store.undo_answer(item, rater, Some(id), ambient::now()).await?;
    desk(state, id, rater).await
}

/// Votes on a pair, or skips it, for the API and for the form.
pub(crate) async fn answer(
    state: &AppState,
    id: CampaignId,
    rater: RaterId,
    item: MatchupId,
    choice: Option<Choice>,
) -> Result<NextMatchup, ApiError> {
    let (store, now) = (&state.store, ambient::now());
    require_open(state, id).await?;
    let item = store.get_desk_item(id, rater, item).await?;
    let missing = || ApiError::not_found("pair that was drawn for this rater");
    let item = item.ok_or_else(missing)?;
    match (item.kind, choice) {
        (ItemKind::Check, choice) => {
            if !store.answer_check(item.id, rater, choice, now).await? {
                return Err(StoreError::from(Conflict::AlreadyVoted).into());
            }
        }
        (ItemKind::Pair, Some(choice)) => {
            let id = VoteId::new(now, ambient::entropy());
            let vote = Vote { id, matchup_id: item.id, rater_id: rater, choice, created_at: now };
            store.cast_vote(&vote).await?;
        }
        (ItemKind::Pair, None) => store.skip_matchup(item.id, rater, now).await?,
        (ItemKind::Set, None) => {
            store.answer_set(id, rater, &item, &[], now, &mut ambient::generator()).await?;
        }
        (ItemKind::Set, Some(_)) => {
            let remedy =
                "is for two images: this item has more, post their order to its address that ends in /rank";
            return Err(ApiError::field("choice", remedy));
        }
        (ItemKind::Decided, _) => return Err(missing()),
    }
    store.close_ended_campaigns(now).await?;
    desk(state, id, rater).await
}

/// Picks the best image of a set, or ranks several, for the API and for the form.
pub(crate) async fn rank(
    state: &AppState,
    id: CampaignId,
    rater: RaterId,
    item: MatchupId,
    order: Vec<u8>,
) -> Result<NextMatchup, ApiError> {
    let (store, now) = (&state.store, ambient::now());
    require_open(state, id).await?;
    let item = store.get_desk_item(id, rater, item).await?.filter(|item| item.kind == ItemKind::Set);
    let item = item.ok_or_else(|| ApiError::not_found("set that was drawn for this rater"))?;
    let images = u8::try_from(2 + item.more.len()).unwrap_or(u8::MAX);
    let order = complete_order(order, images).map_err(|problem| ApiError::field("order", problem))?;
    store.answer_set(id, rater, &item, &order, now, &mut ambient::generator()).await?;
    store.close_ended_campaigns(now).await?;
    desk(state, id, rater).await
}

/// Fails unless the campaign takes answers.
async fn require_open(state: &AppState, id: CampaignId) -> Result<(), ApiError> {
    let campaign = find(state, id).await?;
    if campaign.state != CampaignState::Open || campaign.spec.ends_at.is_some_and(|end| end <= ambient::now())
    {
        return Err(StoreError::from(Conflict::CampaignNotOpen).into());
    }
    Ok(())
}

/// What a rater finds at the desk.
pub(crate) async fn desk(
    state: &AppState,
    campaign: CampaignId,
    rater: RaterId,
) -> Result<NextMatchup, ApiError> {
    let store = &state.store;
    let campaign = &find(state, campaign).await?;
    let spec = &campaign.spec;
    let has_agreed = store.has_agreed(campaign.id, rater).await?;
    let answered = store.count_answers(campaign.id, rater).await?;
    let is_done = answered >= i64::from(spec.session);
    let ends_here = is_done && spec.reveal == Reveal::AfterSession;
    let mut items: Vec<DeskItem> = Vec::new();
    if has_agreed && campaign.state == CampaignState::Open && !ends_here {
        let models = store.campaign_models(campaign.id).await?;
        let mut generator = ambient::generator();
        items =
            store.desk_items(campaign, &models, rater, 1 + PRELOADED, ambient::now(), &mut generator).await?;
    }
    let checks = store.check_counts(campaign.id, rater).await?;
    let told = is_done
        || campaign.state == CampaignState::Closed
        || (has_agreed && items.is_empty() && answered > 0);
    let passed = passed(spec, checks.exam_answered, checks.exam_right);
    let (completion_code, return_url) = match passed {
        Some(false) => spec.told(Ending::Failed),
        _ if told && answered > 0 => spec.told(Ending::Done),
        _ => (None, None),
    };
    let (withdrawn_code, withdrawn_url) = spec.told(Ending::Withdrawn);
    let mut items = items.into_iter().map(|item| blind(campaign.id, item));
    let matchup = items.next();
    Ok(NextMatchup {
        question: matchup.as_ref().map_or_else(Default::default, |matchup| matchup.question),
        matchup,
        upcoming: items.collect(),
        last: store.last_answered(rater, Some(campaign.id)).await?,
        models: Vec::new(),
        drawing: None,
        votes_cast: answered,
        campaign: Some(CampaignDesk {
            id: campaign.id,
            name: spec.name.clone(),
            state: campaign.state,
            instructions: spec.instructions.clone(),
            language: spec.language.clone(),
            has_agreed,
            answered,
            session: spec.session,
            exam_left: spec.exam.saturating_sub(checks.exam_answered),
            passed,
            completion_code,
            return_url,
            withdrawn_code,
            withdrawn_url,
            pseudonym: pseudonym(campaign.id, rater),
        }),
    })
}

/// A pair without anything that identifies its models, or tells that it is a check.
pub(crate) fn blind(campaign: CampaignId, item: DeskItem) -> BlindMatchup {
    let side = |side: &str| {
        let address = path::DESK_SIDE.replace("{id}", &campaign.to_string());
        address.replace("{item}", &item.id.to_string()).replace("{side}", side)
    };
    let (left_url, right_url) = (side("left"), side("right"));
    let more_urls = ["third", "fourth"].into_iter().take(item.more.len()).map(side).collect();
    BlindMatchup { id: item.id, question: item.question, left_url, right_url, more_urls, prompt: item.prompt }
}

/// The ids in a path.
pub(crate) fn ids(campaign: &str, item: &str) -> Result<(CampaignId, MatchupId), ApiError> {
    let missing = |_| ApiError::not_found("pair: its id, or the campaign's, is not a UUID");
    Ok((campaign.parse().map_err(missing)?, item.parse().map_err(missing)?))
}
