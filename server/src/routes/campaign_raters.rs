//! What a rater of a campaign may do beside judging: agree, read the own answers, and be forgotten.

use crate::error::ApiError;
use crate::extract::{Body, Id};
use crate::rater::Rater;
use crate::routes::campaign_desk::{blind, desk};
use crate::routes::campaigns::find;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use domain::api::{ConsentRequest, DeskRequest, ErrorBody, NextMatchup, OwnVote, Page, path};
use domain::campaign::{CampaignState, Reveal};
use domain::id::CampaignId;
use process::ambient;

/// Longest name that a panel has for a rater, in bytes.
const LONGEST_NAME: usize = 100;

/// Agree to take part in a campaign
///
/// Before it, a rater gets no pair. The first agreement counts.
#[utoipa::path(post, path = path::CAMPAIGN_CONSENT, tag = "judging", operation_id = "agree_to_campaign",
    params(("id" = Uuid, Path, description = "Id of the campaign.")),
    request_body = ConsentRequest, responses(
    (status = 200, description = "What the rater judges first.", body = NextMatchup),
    (status = 404, description = "There is no such campaign.", body = ErrorBody),
    (status = 422, description = "`external_id` is empty or too long.", body = ErrorBody)))]
pub(crate) async fn consent(
    State(state): State<AppState>,
    rater: Rater,
    Id(id): Id<CampaignId>,
    Body(ConsentRequest { external_id }): Body<ConsentRequest>,
) -> Result<impl IntoResponse, ApiError> {
    find(&state, id).await?;
    let external_id = external_id.as_deref();
    if external_id.is_some_and(|name| name.trim().is_empty() || name.len() > LONGEST_NAME) {
        let message = format!("use 1 to {LONGEST_NAME} bytes, or leave the field out");
        return Err(ApiError::field("external_id", message));
    }
    state.store.agree(id, rater.id, external_id, ambient::now()).await?;
    Ok((rater, Json(desk(&state, id, rater.id).await?)))
}

/// List the own votes in a campaign
///
/// With the models, once the campaign reveals them to this rater. Checks are not listed.
#[utoipa::path(get, path = path::CAMPAIGN_HISTORY, tag = "judging", operation_id = "list_own_votes",
    params(("id" = Uuid, Path, description = "Id of the campaign.")), responses(
    (status = 200, description = "The rater's votes, newest first.", body = Page<OwnVote>),
    (status = 404, description = "There is no such campaign.", body = ErrorBody)))]
pub(crate) async fn history(
    State(state): State<AppState>,
    rater: Rater,
    Id(id): Id<CampaignId>,
) -> Result<(Rater, Json<Page<OwnVote>>), ApiError> {
    let campaign = find(&state, id).await?;
    let is_revealed = match campaign.spec.reveal {
        Reveal::Never => false,
        Reveal::AtEnd => campaign.state == CampaignState::Closed,
        Reveal::AfterSession => {
            campaign.state == CampaignState::Closed
                || state.store.count_answers(id, rater.id).await? >= i64::from(campaign.spec.session)
        }
    };
    let mut items = Vec::new();
    for own in state.store.own_answers(id, rater.id).await? {
        let names = if is_revealed { state.store.matchup_model_names(own.item.id).await? } else { None };
        let (left_model, right_model) = names.unzip();
        let (choice, created_at) = (own.choice, own.created_at);
        items.push(OwnVote { matchup: blind(id, own.item), choice, created_at, left_model, right_model });
    }
    Ok((rater, Json(Page { items })))
}

/// Erase the rater from a campaign
///
/// Deletes the agreement, all votes, also those taken back, skips and checks of this rater in the campaign. They count no more,
/// also if the campaign is closed.
#[utoipa::path(post, path = path::CAMPAIGN_ERASE, tag = "judging", operation_id = "erase_from_campaign",
    params(("id" = Uuid, Path, description = "Id of the campaign.")),
    request_body = DeskRequest, responses(
    (status = 200, description = "The desk as a new rater finds it.", body = NextMatchup),
    (status = 404, description = "There is no such campaign.", body = ErrorBody)))]
pub(crate) async fn erase(
    State(state): State<AppState>,
    rater: Rater,
    Id(id): Id<CampaignId>,
    Body(_): Body<DeskRequest>,
) -> Result<impl IntoResponse, ApiError> {
    find(&state, id).await?;
    state.store.erase_from_campaign(id, rater.id).await?;
    Ok((rater, Json(desk(&state, id, rater.id).await?)))
}
