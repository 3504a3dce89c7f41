//! The forms of the campaign pages, for browsers without JavaScript and for owners.

use crate::error::ApiError;
use crate::extract::Form;
use crate::rater::Rater;
use crate::routes::{answer, compare, invite, make_campaign, require_owner, take_back};
use crate::state::AppState;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::api::{ComparisonRequest, InvitationRequest, campaign_desk_page, campaign_page};
use domain::campaign::{CampaignSpec, CampaignState};
use domain::id::{CampaignId, InvitationId, MatchupId};
use domain::preference::{Choice, Question};
use process::ambient;
use serde_json::{Map, Value, json};

fn id(text: &str) -> Result<CampaignId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("campaign: the id is not a UUID"))
}

/// Makes a campaign and goes to its owner's page. A form that is refused is shown again, with the reason.
pub(crate) async fn new(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let form = Form::read(request, &state).await?;
    let made = match spec(&form) {
        Ok(spec) => make_campaign(&state, spec).await,
        Err(error) => Err(error),
    };
    let error = match made {
        Ok(created) => return Ok(Redirect::to(&created.owner_url).into_response()),
        Err(error) => error,
    };
    let Some(detail) = error.client_error() else { return Err(error) };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("problem", &detail.message);
    for name in
        ["name", "raters_per_item", "votes", "ends_at", "session", "reveal", "instructions", "prompts"]
    {
        query.append_pair(name, form.text(name));
    }
    query.append_pair("models", &chosen(&form, "model:").join(","));
    query.append_pair("questions", &chosen(&form, "question:").join(","));
    Ok(Redirect::to(&format!("/campaigns/new?{}", query.finish())).into_response())
}

/// The rest of the names of the fields that begin so: the checked boxes.
fn chosen(form: &Form, prefix: &str) -> Vec<String> {
    form.names().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
}

/// The campaign that a form describes.
fn spec(form: &Form) -> Result<CampaignSpec, ApiError> {
    let mut fields = Map::new();
    let text = |name: &str| form.text(name).trim();
    fields.insert("name".to_owned(), text("name").into());
    fields.insert("models".to_owned(), json!(chosen(form, "model:")));
    fields.insert("questions".to_owned(), json!(chosen(form, "question:")));
    fields.insert("instructions".to_owned(), text("instructions").into());
    let prompts: Vec<&str> = text("prompts").lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    fields.insert("prompts".to_owned(), json!(prompts));
    if !text("reveal").is_empty() {
        fields.insert("reveal".to_owned(), text("reveal").into());
    }
    for name in ["raters_per_item", "session", "votes"] {
        if !text(name).is_empty() {
            let number: u32 = text(name)
                .parse()
                .map_err(|_| ApiError::field(name, format!("{:?} is not a whole number", text(name))))?;
            fields.insert(name.to_owned(), number.into());
        }
    }
    if !text("ends_at").is_empty() {
        // Browsers send minutes, and no time zone.
        fields.insert("ends_at".to_owned(), format!("{}:00Z", text("ends_at")).into());
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| ApiError::field("form", error.to_string()))
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
    let spec = CampaignSpec {
        name: format!("{name}, {}", now.format("%Y-%m-%d %H:%M:%S")),
        models: comparison.models,
        prompts: Vec::new(),
        questions: vec![Question::Overall],
        raters_per_item: 1,
        votes: None,
        ends_at: None,
        session: 20,
        reveal: domain::campaign::Reveal::AtEnd,
        instructions: String::new(),
        gold: Vec::new(),
        exam: 0,
        gold_every: 0,
        repeat_every: 0,
        completion_code: None,
        return_url: None,
    };
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
