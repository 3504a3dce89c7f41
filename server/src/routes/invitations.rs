//! Invitations: links that open the desk of one campaign, also where the rest needs the access token.

use crate::error::ApiError;
use crate::extract::{Body, Id, Query};
use crate::invited::cookie;
use crate::routes::campaigns::{OwnerQuery, find, require_owner};
use crate::secret::{hashed, new_secret};
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use domain::api::{
    DeskRequest, ErrorBody, Invitation, InvitationCreated, InvitationRequest, campaign_desk_page, path,
};
use domain::id::{CampaignId, InvitationId};
use process::ambient;

/// Longest label, in bytes.
const LONGEST_LABEL: usize = 100;

/// Make an invitation
///
/// The response tells a link once. Whoever opens it can judge in this campaign, and see nothing else of this site, until the
/// invitation ends or is revoked.
#[utoipa::path(post, path = path::CAMPAIGN_INVITATIONS, tag = "judging", operation_id = "create_invitation",
    params(("id" = Uuid, Path, description = "Id of the campaign."), OwnerQuery),
    request_body = InvitationRequest, responses(
    (status = 201, description = "The invitation and its link.", body = InvitationCreated),
    (status = 404, description = "There is no such campaign.", body = ErrorBody),
    (status = 422, description = "`key` is not the key of this campaign, or a field is not accepted.", body = ErrorBody)))]
pub(crate) async fn create(
    State(state): State<AppState>,
    Id(id): Id<CampaignId>,
    Query(OwnerQuery { key }): Query<OwnerQuery>,
    Body(request): Body<InvitationRequest>,
) -> Result<impl IntoResponse, ApiError> {
    find(&state, id).await?;
    require_owner(&state, id, key.as_deref().unwrap_or_default()).await?;
    Ok((StatusCode::CREATED, Json(invite(&state, id, request).await?)))
}

/// Makes an invitation, for the API and for the form.
pub(crate) async fn invite(
    state: &AppState,
    campaign: CampaignId,
    request: InvitationRequest,
) -> Result<InvitationCreated, ApiError> {
    let InvitationRequest { label, ends_at } = request;
    let now = ambient::now();
    if label.len() > LONGEST_LABEL {
        return Err(ApiError::field("label", format!("use at most {LONGEST_LABEL} bytes")));
    }
    if ends_at.is_some_and(|end| end <= now) {
        return Err(ApiError::field("ends_at", "is in the past: use a later time, or leave the field out"));
    }
    let id = InvitationId::new(now, ambient::entropy());
    let invitation = Invitation { id, label, created_at: now, ends_at, revoked_at: None };
    let token = new_secret();
    state.store.insert_invitation(campaign, &invitation, &hashed(&token)).await?;
    Ok(InvitationCreated { invitation, path: format!("/join/{token}") })
}

/// Revoke an invitation
///
/// Its link, and the browsers that have opened it, have no access from now on.
#[utoipa::path(post, path = path::CAMPAIGN_REVOKE, tag = "judging", operation_id = "revoke_invitation",
    params(
        ("id" = Uuid, Path, description = "Id of the campaign."),
        ("invitation" = Uuid, Path, description = "Id of the invitation."),
        OwnerQuery,
    ),
    request_body = DeskRequest, responses(
    (status = 200, description = "The invitations of the campaign, newest first.", body = Vec<Invitation>),
    (status = 404, description = "There is no such campaign or invitation.", body = ErrorBody),
    (status = 422, description = "`key` is not the key of this campaign.", body = ErrorBody)))]
pub(crate) async fn revoke(
    State(state): State<AppState>,
    Path((id, invitation)): Path<(String, String)>,
    Query(OwnerQuery { key }): Query<OwnerQuery>,
    Body(_): Body<DeskRequest>,
) -> Result<Json<Vec<Invitation>>, ApiError> {
    let missing = || ApiError::not_found("invitation: its id, or the campaign's, is not a UUID");
    let id: CampaignId = id.parse().map_err(|_| missing())?;
    let invitation: InvitationId = invitation.parse().map_err(|_| missing())?;
    find(&state, id).await?;
    require_owner(&state, id, key.as_deref().unwrap_or_default()).await?;
    state.store.revoke_invitation(id, invitation, ambient::now()).await?;
    Ok(Json(state.store.list_invitations(id).await?))
}

/// Opens the link of an invitation: sets a cookie and goes to the desk. The query, in which a panel names the rater, goes along.
pub(crate) async fn join(
    State(state): State<AppState>,
    Path(token): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let campaign = state.store.invited_to(&hashed(&token), ambient::now()).await?;
    let Some(campaign) = campaign else {
        return Err(ApiError::not_found(
            "invitation: the link was revoked, has ended, or is incomplete. Ask for a new one",
        ));
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let address = format!("{}{query}", campaign_desk_page(campaign));
    Ok(([(header::SET_COOKIE, cookie(&token))], Redirect::to(&address)).into_response())
}
