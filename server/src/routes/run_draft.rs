//! Drafts of training specs: a form's fields from a preset, a run, TOML or values, with everything that is wrong.

use crate::error::ApiError;
use crate::extract::{Body, require_unique_keys, value_of};
use crate::routes::jobs;
use crate::routes::run_estimate::cost_without_data;
use crate::routes::run_presets::PRESETS;
use crate::routes::runs::find;
use crate::routes::spec_form::form;
use crate::routes::spec_values::{spec_of, values_of};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{ErrorBody, FieldGroup, JobAccepted, RunDraft, RunDraftRequest, path};
use domain::job::JobSpec;
use domain::problem::{Problem, Problems};
use domain::train::TrainSpec;
use serde_json::Value;
use std::collections::BTreeMap;

/// Draft a training run
///
/// Returns the fields of a training spec with their meanings and values, the spec as TOML, and everything that is wrong with
/// it: what the submission of the job would refuse. Nothing is stored.
#[utoipa::path(post, path = path::RUN_DRAFT, tag = "training", operation_id = "draft_run",
    request_body = RunDraftRequest, responses(
    (status = 200, description = "The draft, valid or not.", body = RunDraft),
    (status = 404, description = "There is no such run.", body = ErrorBody),
    (status = 422, description = "There is no such preset, or two sources are given.", body = ErrorBody)))]
pub(crate) async fn draft(
    State(state): State<AppState>,
    Body(request): Body<RunDraftRequest>,
) -> Result<Json<RunDraft>, ApiError> {
    request.validate()?;
    let (written, unreadable) = match (&request.fields, &request.toml) {
        (Some(values), _) => spec_of(values),
        (None, Some(text)) => match parsed(text) {
            Ok(written) => (written, Problems::default()),
            Err(problem) => return Ok(Json(unparsable(text, problem))),
        },
        (None, None) => (source(&state, &request).await?, Problems::default()),
    };
    let mut problems = unreadable.0;
    // Problems of values that cannot be read would be repeated as missing fields.
    if problems.is_empty() {
        problems = problems_of(&state, &written).await?;
    }
    let cost = if problems.is_empty() {
        cost_without_data(&state, &value_of(written.clone())?).await?
    } else {
        None
    };
    // What was entered stays, also if it cannot be read.
    let values = request.fields.clone().unwrap_or_else(|| values_of(&written));
    // A number beyond the integers of TOML, which the problems name.
    let text = toml::to_string(&written).unwrap_or_else(|problem| format!("# Not TOML: {problem}\n"));
    Ok(Json(RunDraft { groups: filled(&values), toml: text, problems, cost, presets: presets() }))
}

/// An empty form beside a text that is no TOML.
fn unparsable(text: &str, problem: String) -> RunDraft {
    let problems = Problems::one("toml", problem).0;
    RunDraft {
        groups: filled(&BTreeMap::new()),
        toml: text.to_owned(),
        problems,
        cost: None,
        presets: presets(),
    }
}

fn presets() -> Vec<String> {
    PRESETS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// The spec of the run or preset that a request names, under a free name.
async fn source(state: &AppState, request: &RunDraftRequest) -> Result<Value, ApiError> {
    let mut spec = match request.from {
        Some(id) => {
            let run = find(state, id).await?;
            let mut spec = serde_json::to_value(&run.spec).map_err(ApiError::internal)?;
            spec["name"] = run.name.into();
            spec
        }
        None => preset(request.preset.as_deref())?,
    };
    // A copy cannot keep the name of what it was copied from.
    if let Some(name) = spec["name"].as_str()
        && let Some(free) = state.store.name_instead(name, None).await?
    {
        spec["name"] = free.into();
    }
    Ok(spec)
}

fn preset(name: Option<&str>) -> Result<Value, ApiError> {
    let found = PRESETS.iter().find(|(known, _)| name.is_none_or(|name| name == *known));
    let Some((_, text)) = found else {
        return Err(ApiError::field(
            "preset",
            format!("there is no such preset: use {}", presets().join(", ")),
        ));
    };
    parsed(text).map_err(ApiError::internal)
}

/// A spec written in TOML, or in JSON as jobs are submitted.
fn parsed(text: &str) -> Result<Value, String> {
    let mut spec: Value = if text.trim_start().starts_with('{') {
        require_unique_keys(text)?;
        serde_json::from_str(text).map_err(|problem| problem.to_string())?
    } else {
        toml::from_str(text).map_err(|problem: toml::de::Error| problem.to_string())?
    };
    if let Some(fields) = spec.as_object_mut()
        && fields.get("kind").is_some_and(|kind| kind == "train")
    {
        fields.remove("kind");
    }
    remove_nulls(&mut spec);
    Ok(spec)
}

/// Removes keys without a value, which TOML does not have: they mean the default.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// What the submission of a spec would refuse.
async fn problems_of(state: &AppState, written: &Value) -> Result<Vec<Problem>, ApiError> {
    let refused = match checked(state, written).await {
        Ok(()) => return Ok(Vec::new()),
        Err(error) => error,
    };
    let Some(detail) = refused.client_error() else { return Err(refused) };
    if detail.fields.is_empty() {
        return Ok(vec![Problem { field: String::new(), message: detail.message }]);
    }
    Ok(detail.fields)
}

/// Checks a spec as its submission does.
async fn checked(state: &AppState, written: &Value) -> Result<(), ApiError> {
    jobs::check(state, &JobSpec::Train(value_of(written.clone())?)).await
}

/// Submits the spec that a form's values stand for.
pub(crate) async fn submit(
    state: &AppState,
    values: &BTreeMap<String, String>,
    priority: i64,
) -> Result<JobAccepted, ApiError> {
    let (written, problems) = spec_of(values);
    problems.into_result()?;
    let spec: TrainSpec = value_of(written)?;
    jobs::enqueue(state, &JobSpec::Train(spec), priority).await
}

/// The form with these values.
fn filled(values: &BTreeMap<String, String>) -> Vec<FieldGroup> {
    let mut groups = form().to_vec();
    for field in groups.iter_mut().flat_map(|group| &mut group.fields) {
        field.value = values.get(&field.path).cloned().unwrap_or_default();
    }
    groups
}
