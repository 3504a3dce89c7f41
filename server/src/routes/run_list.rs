//! The list of runs, page by page, and the values that it can be filtered by.

use crate::error::ApiError;
use crate::extract::Query;
use crate::routes::list_limit::limit;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{ErrorBody, RunChoices, RunPage, RunSort, RunSummary, is_tag, path};
use domain::id::{RunId, StudyId};
use domain::job::JobState;
use domain::limits::MAX_NAME_BYTES;
use domain::problem::Problems;
use domain::run::metric;
use domain::train::Objective;
use serde::Deserialize;
use store::{RunCursor, RunFilter};

/// The metrics whose last value the list includes.
const LATEST: [&str; 5] = [
    metric::LOSS,
    metric::REWARDS_ACCURACIES,
    metric::VALIDATION_LOSS,
    metric::VALIDATION_ACCURACY,
    metric::SAMPLES_PER_SECOND,
];

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunQuery {
    /// Only runs whose name contains this text, without regard to case.
    search: Option<String>,
    /// Only runs in this state.
    state: Option<JobState>,
    /// Only runs with this kind of objective, such as `diff_contrast`.
    objective: Option<String>,
    /// Only runs that started from this model, as their spec names it.
    base: Option<String>,
    /// Only runs with this tag.
    tag: Option<String>,
    /// Only runs of this study.
    #[param(value_type = Option<Uuid>)]
    study: Option<StudyId>,
    /// Archived runs instead of the others.
    #[serde(default)]
    #[param(default = false)]
    archived: bool,
    /// The order, below the pinned runs.
    #[serde(default)]
    #[param(value_type = Option<RunSort>, default = "newest")]
    sort: RunSort,
    /// Only runs after this place in the list: `next` of a response to a request with the same order.
    cursor: Option<String>,
    /// Most items to return.
    #[param(default = 100, minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

impl RunQuery {
    /// The filter and the place, checked.
    fn checked(self) -> Result<(RunFilter, Option<RunCursor>), ApiError> {
        let mut problems = Problems::default();
        let search = self.search.as_deref().is_none_or(|text| text.len() <= MAX_NAME_BYTES);
        problems.require(search, "search", format!("use at most {MAX_NAME_BYTES} bytes"));
        if let Some(kind) = self.objective.as_deref().filter(|kind| !Objective::KINDS.contains(kind)) {
            problems.add(
                "objective",
                format!("{kind:?} is not an objective: use {}", Objective::KINDS.join(", ")),
            );
        }
        if let Some(tag) = self.tag.as_deref().filter(|tag| !is_tag(tag)) {
            problems.add("tag", format!("{tag:?} is not a tag: name one tag of the list of choices"));
        }
        let cursor: Option<Option<RunCursor>> = self.cursor.as_deref().map(|text| text.parse().ok());
        let fits = cursor.as_ref().is_none_or(|cursor| cursor.as_ref().is_some_and(|c| c.is_of(self.sort)));
        problems.require(
            fits,
            "cursor",
            "is not `next` of a response with this order: begin without a cursor",
        );
        problems.into_result()?;
        let filter = RunFilter {
            search: self.search,
            state: self.state,
            objective: self.objective,
            base: self.base,
            tag: self.tag,
            study: self.study,
            archived: self.archived,
        };
        Ok((filter, cursor.flatten()))
    }
}

/// List runs
///
/// Pinned runs come first. A page is not disturbed by runs that are added while a client turns pages.
#[utoipa::path(get, path = path::RUNS, tag = "training", operation_id = "list_runs", params(RunQuery), responses(
    (status = 200, description = "A page of runs. `next` is the `cursor` of the next page.", body = RunPage),
    (status = 422, description = "A filter has a value that no run can have, `cursor` belongs to another order, or `limit` is out of range.", body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<RunQuery>,
) -> Result<Json<RunPage>, ApiError> {
    let (at_most, sort) = (limit(query.limit)?, query.sort);
    let (filter, after) = query.checked()?;
    // One more than asked for tells whether there is a next page.
    let mut runs = state.store.list_run_page(&filter, sort, after.as_ref(), at_most + 1).await?;
    let is_last = runs.len() <= at_most as usize;
    runs.truncate(at_most as usize);
    let next = runs.last().filter(|_| !is_last).map(|run| RunCursor::of(run, sort).to_string());
    let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
    let mut points = state.store.last_points(&ids, &LATEST).await?;
    let items = runs
        .into_iter()
        .map(|run| RunSummary { latest: points.remove(&run.id).unwrap_or_default(), run })
        .collect();
    Ok(Json(RunPage { items, next }))
}

/// List the values that runs can be filtered by
#[utoipa::path(get, path = path::RUN_CHOICES, tag = "training", operation_id = "list_run_choices", responses(
    (status = 200, description = "Bases, tags and studies of all runs.", body = RunChoices)))]
pub(crate) async fn choices(State(state): State<AppState>) -> Result<Json<RunChoices>, ApiError> {
    Ok(Json(state.store.run_choices().await?))
}
