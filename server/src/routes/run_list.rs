//! The list of runs, page by page, and the values that it can be filtered by.

use crate::error::ApiError;
use crate::extract::Query;
use crate::routes::list_limit::limit;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{ErrorBody, RunChoices, RunColumn, RunPage, RunSort, RunSummary, RunValue, is_tag, path};
use domain::id::{RunId, StudyId};
use domain::job::JobState;
use domain::limits::MAX_NAME_BYTES;
use domain::problem::Problems;
use domain::run::metric;
use domain::train::Objective;
use serde::Deserialize;
use std::collections::HashMap;
use store::{RunCursor, RunFilter};

/// The metrics whose last value the list includes.
const LATEST: [&str; 5] = [
    metric::LOSS,
    metric::REWARDS_ACCURACIES,
    metric::VALIDATION_LOSS,
    metric::VALIDATION_ACCURACY,
    metric::SAMPLES_PER_SECOND,
];

/// Most columns of a request: each is a query.
const MOST_COLUMNS: usize = 12;

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
    /// Values to add to each run, separated by commas: `METRIC:VALUE`, with `last`, `lowest` or `highest` as the value, such as
    /// `loss:last,validation/loss:lowest`. At most 12.
    columns: Option<String>,
    /// Only runs after this place in the list: `next` of a response to a request with the same order.
    cursor: Option<String>,
    /// Most items to return.
    #[param(default = 100, minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

impl RunQuery {
    /// The requested columns.
    fn columns(&self) -> Result<Vec<RunColumn>, ApiError> {
        let texts =
            self.columns.iter().flat_map(|columns| columns.split(',')).filter(|text| !text.is_empty());
        let columns: Result<Vec<RunColumn>, String> = texts.map(str::parse).collect();
        let columns = columns.map_err(|problem| ApiError::field("columns", problem))?;
        if columns.len() > MOST_COLUMNS {
            return Err(ApiError::field("columns", format!("use at most {MOST_COLUMNS}")));
        }
        Ok(columns)
    }

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
    (status = 422, description = "A filter has a value that no run can have, `columns` names none, `cursor` belongs to another order, or `limit` is out of range.", body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<RunQuery>,
) -> Result<Json<RunPage>, ApiError> {
    let (at_most, sort, columns) = (limit(query.limit)?, query.sort, query.columns()?);
    let (filter, after) = query.checked()?;
    // One more than asked for tells whether there is a next page.
    let mut runs = state.store.list_run_page(&filter, sort, after.as_ref(), at_most + 1).await?;
    let is_last = runs.len() <= at_most as usize;
    runs.truncate(at_most as usize);
    let next = runs.last().filter(|_| !is_last).map(|run| RunCursor::of(run, sort).to_string());
    let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
    let mut points = state.store.last_points(&ids, &LATEST).await?;
    let mut values = column_values(&state, &ids, &columns).await?;
    let items = runs
        .into_iter()
        .map(|run| RunSummary {
            latest: points.remove(&run.id).unwrap_or_default(),
            columns: values.remove(&run.id).unwrap_or_default(),
            run,
        })
        .collect();
    Ok(Json(RunPage { items, next }))
}

/// The values of these columns for each of these runs.
async fn column_values(
    state: &AppState,
    runs: &[RunId],
    columns: &[RunColumn],
) -> Result<HashMap<RunId, Vec<Option<f64>>>, ApiError> {
    let mut values: HashMap<RunId, Vec<Option<f64>>> = runs.iter().map(|run| (*run, Vec::new())).collect();
    for RunColumn { metric, value } in columns {
        let of_runs: HashMap<RunId, f64> = match value {
            RunValue::Last => {
                let last = state.store.last_points(runs, &[metric]).await?;
                last.into_iter().filter_map(|(run, points)| Some((run, points.last()?.value))).collect()
            }
            RunValue::Lowest | RunValue::Highest => {
                let is_lowest = *value == RunValue::Lowest;
                let extremes = state.store.extreme_values(runs, metric).await?;
                let value = |(lowest, highest)| if is_lowest { lowest } else { highest };
                extremes.into_iter().map(|(run, pair)| (run, value(pair))).collect()
            }
        };
        for (run, row) in &mut values {
            row.push(of_runs.get(run).copied());
        }
    }
    Ok(values)
}

/// List the values that runs can be filtered by
#[utoipa::path(get, path = path::RUN_CHOICES, tag = "training", operation_id = "list_run_choices", responses(
    (status = 200, description = "Bases, tags and studies of all runs.", body = RunChoices)))]
pub(crate) async fn choices(State(state): State<AppState>) -> Result<Json<RunChoices>, ApiError> {
    Ok(Json(state.store.run_choices().await?))
}
