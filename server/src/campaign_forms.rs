//! The forms of the campaign pages, for browsers without JavaScript and for owners.

use crate::campaign_spec_form::{KEPT, chosen, kept_gold, spec};
use crate::error::ApiError;
use crate::extract::Form;
use crate::rater::Rater;
use crate::routes::{answer, compare, invite, make_campaign, rank, require_owner, take_back};
use crate::state::AppState;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::api::{ComparisonRequest, InvitationRequest, campaign_desk_page, campaign_page};
use domain::campaign::{CampaignSpec, CampaignState};
use domain::id::{CampaignId, InvitationId, MatchupId};
use domain::preference::Choice;
use process::ambient;
use serde_json::json;

fn id(text: &str) -> Result<CampaignId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("campaign: the id is not a UUID"))
}

/// Makes a campaign and goes to its owner's page. A form that is refused is shown again, with the reason; one that asks for pairs to
/// choose from is shown with them.
pub(crate) async fn new(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let form = Form::read(request, &state).await?;
    let reason = if form.get("pick").is_some() {
        ("pick", "1".to_owned())
    } else {
        let made = match spec(&state, &form).await {
            Ok(spec) => make_campaign(&state, spec).await,
            Err(error) => Err(error),
        };
        let error = match made {
            Ok(created) => return Ok(Redirect::to(&created.owner_url).into_response()),
            Err(error) => error,
        };
        let Some(detail) = error.client_error() else { return Err(error) };
        ("problem", detail.message)
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair(reason.0, &reason.1);
    for name in KEPT {
        query.append_pair(name, form.text(name));
    }
    query.append_pair("gold", &kept_gold(&form));
    query.append_pair("models", &chosen(&form, "model:").join(","));
    query.append_pair("questions", &chosen(&form, "question:").join(","));
    let place = if form.get("pick").is_some() { "#gold" } else { "" };
    Ok(Redirect::to(&format!("/campaigns/new?{}{place}", query.finish())).into_response())
}

/// Makes a campaign of two models with the usual rules, draws their images if they have none in common, and goes to its owner's
/// page.
pub(crate) async fn quick(State(state): State<AppState>, request: Request) -> Result<Redirect, ApiError> {
    let form = Form::read(request, &state).await?;
    let field = |name: &str| form.text(name).trim().to_owned();
    let models = vec![field("model"), field("campaign_against")];
    let comparison =
        compare(&state, &ComparisonRequest { models: models.clone(), ..ComparisonRequest::default() })
            .await?;
    let name: String = format!("{} against {}", models[0], models[1]).chars().take(80).collect();
    let now = ambient::now();
    let spec = json!({
        "name": format!("{name}, {}", now.format("%Y-%m-%d %H:%M:%S")),
        "models": comparison.models,
        "reveal": "at_end",
    });
    let spec: CampaignSpec = serde_json::from_value(spec).map_err(ApiError::internal)?;
    Ok(Redirect::to(&make_campaign(&state, spec).await?.owner_url))
}

/// Opens, pauses or closes a campaign.
pub(crate) async fn set_state(
    State(state): State<AppState>,
    Path(campaign): Path<String>,
    request: Request,
) -> Result<Redirect, ApiError> {
    let campaign = id(&campaign)?;
    let form = Form::read(request, &state).await?;
    let wanted: CampaignState =
        form.text("state").parse().map_err(|problem: String| ApiError::field("state", problem))?;
    state.store.set_campaign_state(campaign, wanted, ambient::now()).await?;
    Ok(Redirect::to(&owner_page(campaign, &form, "")))
}

/// Makes an invitation, or revokes one, and goes back to the owner's page.
pub(crate) async fn invitations(
    State(state): State<AppState>,
    Path(campaign): Path<String>,
    request: Request,
) -> Result<Redirect, ApiError> {
    let campaign = id(&campaign)?;
    let form = Form::read(request, &state).await?;
    require_owner(&state, campaign, form.text("key")).await?;
    if let Some(revoked) = form.get("revoke") {
        let revoked: InvitationId =
            revoked.parse().map_err(|_| ApiError::field("revoke", "is not the id of an invitation"))?;
        state.store.revoke_invitation(campaign, revoked, ambient::now()).await?;
        return Ok(Redirect::to(&owner_page(campaign, &form, "")));
    }
    let label = form.text("label").trim().to_owned();
    let created = invite(&state, campaign, InvitationRequest { label, ends_at: None }).await?;
    Ok(Redirect::to(&owner_page(campaign, &form, &created.path)))
}

/// The page of a campaign, with the key that the form had.
fn owner_page(campaign: CampaignId, form: &Form, link: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("key", form.text("key")), ("link", link)] {
        if !value.is_empty() {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    let page = campaign_page(campaign);
    if query.is_empty() { page } else { format!("{page}?{query}") }
}

/// Agrees to take part.
pub(crate) async fn agree(
    State(state): State<AppState>,
    rater: Rater,
    Path(campaign): Path<String>,
    request: Request,
) -> Result<impl IntoResponse, ApiError> {
    let campaign = id(&campaign)?;
    let form = Form::read(request, &state).await?;
    let external_id =
        form.get("external_id").map(str::trim).filter(|name| !name.is_empty() && name.len() <= 100);
    crate::routes::find_campaign(&state, campaign).await?;
    state.store.agree(campaign, rater.id, external_id, ambient::now()).await?;
    Ok((rater, Redirect::to(&campaign_desk_page(campaign))))
}

/// Votes, skips or takes back.
pub(crate) async fn judge(
    State(state): State<AppState>,
    rater: Rater,
    Path(campaign): Path<String>,
    request: Request,
) -> Result<impl IntoResponse, ApiError> {
    let campaign = id(&campaign)?;
    let form = Form::read(request, &state).await?;
    let item: MatchupId = form
        .get("matchup")
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| ApiError::field("matchup", "is not the id of a pair; open the desk again"))?;
    match form.text("choice") {
        "undo" => drop(take_back(&state, campaign, rater.id, item).await?),
        "skip" => drop(answer(&state, campaign, rater.id, item, None).await?),
        best if best.starts_with("best-") => {
            let place: u8 = best["best-".len()..]
                .parse()
                .map_err(|_| ApiError::field("choice", format!("{best:?} is not the number of an image")))?;
            drop(rank(&state, campaign, rater.id, item, vec![place]).await?);
        }
        choice => {
            let choice: Choice =
                choice.parse().map_err(|problem: String| ApiError::field("choice", problem))?;
            drop(answer(&state, campaign, rater.id, item, Some(choice)).await?);
        }
    }
    Ok((rater, Redirect::to(&campaign_desk_page(campaign))))
}

/// Deletes all that a campaign keeps of the rater.
pub(crate) async fn erase(
    State(state): State<AppState>,
    rater: Rater,
    Path(campaign): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let campaign = id(&campaign)?;
    state.store.erase_from_campaign(campaign, rater.id).await?;
    Ok((rater, Redirect::to(&campaign_desk_page(campaign))))
}
