//! Answers to sets of three or four images at a campaign's desk.

use crate::error::ApiError;
use crate::extract::Body;
use crate::rater::Rater;
use crate::routes::campaign_desk;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::api::{DeskRanking, ErrorBody, NextMatchup, path};

/// Pick the best image of a set in a campaign
///
/// Or rank several. The response is what the rater judges next. A request that got no response can be repeated: the answer counts
/// once. In exports and tallies it stands for a vote on each pair that it decides, in ratings for itself.
#[utoipa::path(post, path = path::DESK_RANK, tag = "judging", operation_id = "rank_in_campaign",
    params(
        ("id" = Uuid, Path, description = "Id of the campaign."),
        ("item" = Uuid, Path, description = "Id of the set."),
    ),
    request_body = DeskRanking, responses(
    (status = 201, description = "The answer is counted.", body = NextMatchup),
    (status = 404, description = "There is no such set of this rater.", body = ErrorBody),
    (status = 409, description = "The set has been answered (the first answer counts), or the campaign is not open.", body = ErrorBody),
    (status = 422, description = "`order` names no image, one twice, or one that the set does not have.", body = ErrorBody)))]
pub(crate) async fn rank(
    State(state): State<AppState>,
    rater: Rater,
    Path((id, item)): Path<(String, String)>,
    Body(DeskRanking { order }): Body<DeskRanking>,
) -> Result<impl IntoResponse, ApiError> {
    let (id, item) = campaign_desk::ids(&id, &item)?;
    let next = campaign_desk::rank(&state, id, rater.id, item, order).await?;
    Ok((StatusCode::CREATED, rater, Json(next)))
}
