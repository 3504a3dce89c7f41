//! What people change of a run: its name, notes and tags, its deletion, and whether it goes on.

use crate::error::ApiError;
use crate::extract::{Body, Id};
use crate::routes::runs::find;
use crate::routes::taken::taken;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use catalogue::run_deletion::RunDeletionError;
use domain::api::{ErrorBody, JobAccepted, RunChange, RunResumed, RunResumption, path};
use domain::id::RunId;
use domain::job::{JobSpec, JobState};
use domain::run::Run;
use domain::train::TrainSpec;
use process::ambient;

/// Change a run
///
/// Sets its name, notes and tags, pins or archives it. Its spec and its models keep their names.
#[utoipa::path(patch, path = path::RUN, tag = "training", operation_id = "change_run",
    params(("id" = Uuid, Path, description = "Id of the run.")), request_body = RunChange, responses(
    (status = 200, description = "The changed run.", body = Run),
    (status = 404, description = "There is no such run.", body = ErrorBody),
    (status = 422, description = "A field has a value that is not accepted, or another run has the name: the message suggests a free one.", body = ErrorBody)))]
pub(crate) async fn change(
    State(state): State<AppState>,
    Id(id): Id<RunId>,
    Body(change): Body<RunChange>,
) -> Result<Json<Run>, ApiError> {
    apply(&state, id, &change).await.map(Json)
}

/// Checks a change and makes it.
pub(crate) async fn apply(state: &AppState, id: RunId, change: &RunChange) -> Result<Run, ApiError> {
    let run = find(state, id).await?;
    change.validate()?;
    if let Some(name) = change.name.as_deref().filter(|name| *name != run.name)
        && let Some(free) = state.store.name_instead(name, Some(id)).await?
    {
        return Err(taken(name, &free));
    }
    state.store.change_run(id, change).await?;
    find(state, id).await
}

/// Delete a run
///
/// Deletes the run with its job, curves, notes, tags, samples and saved state. Its models stay. A run that something depends
/// on is not deleted: one that has not ended, a run of a study, or one whose samples were voted on.
#[utoipa::path(delete, path = path::RUN, tag = "training", operation_id = "delete_run",
    params(("id" = Uuid, Path, description = "Id of the run.")), responses(
    (status = 200, description = "The run, which is deleted.", body = Run),
    (status = 404, description = "There is no such run.", body = ErrorBody),
    (status = 409, description = "Something depends on the run. The message names it.", body = ErrorBody)))]
pub(crate) async fn delete(State(state): State<AppState>, Id(id): Id<RunId>) -> Result<Json<Run>, ApiError> {
    let run = find(&state, id).await?;
    match state.catalogue.delete_run(&run).await {
        Ok(()) => Ok(Json(run)),
        Err(RunDeletionError::InUse(uses)) => Err(ApiError::run_in_use(&run.name, &uses)),
        Err(RunDeletionError::Store(error)) => Err(error.into()),
    }
}

/// Resume or prolong a run
///
/// Puts the job of an ended run at the end of the queue again. The run goes on from its saved state; one that was stopped or
/// failed before its first checkpoint begins again. With more `steps` a finished run is prolonged: a learning rate that falls
/// to 0 at the last step then follows the new number of steps.
#[utoipa::path(post, path = path::RUN_RESUME, tag = "training", operation_id = "resume_run",
    params(("id" = Uuid, Path, description = "Id of the run.")), request_body = RunResumption, responses(
    (status = 202, description = "The job is queued.", body = RunResumed),
    (status = 404, description = "There is no such run.", body = ErrorBody),
    (status = 409, description = "The run has not ended, belongs to a study, or has finished and its state is gone.", body = ErrorBody),
    (status = 422, description = "`steps` is out of range, or the run has done as many.", body = ErrorBody)))]
pub(crate) async fn resume(
    State(state): State<AppState>,
    Id(id): Id<RunId>,
    Body(resumption): Body<RunResumption>,
) -> Result<(StatusCode, Json<RunResumed>), ApiError> {
    Ok((StatusCode::ACCEPTED, Json(go_on(&state, id, &resumption).await?)))
}

/// Checks a resumption and queues the job of the run.
pub(crate) async fn go_on(
    state: &AppState,
    id: RunId,
    resumption: &RunResumption,
) -> Result<RunResumed, ApiError> {
    let run = find(state, id).await?;
    if !run.state.is_final() {
        return Err(ApiError::conflict(format!("The run is {}: only an ended run is resumed.", run.state)));
    }
    if let Some((_, study)) = state.store.study_of_run(id).await? {
        return Err(ApiError::conflict(format!(
            "The run belongs to study {study:?}, whose runs have equal budgets: retry the cell of the study instead."
        )));
    }
    let has_state = state.catalogue.has_state(id);
    let finished = run.state == JobState::Succeeded;
    let steps = resumption.steps.unwrap_or(run.spec.steps);
    if i64::from(steps) < run.step || (finished && i64::from(steps) == run.step) {
        return Err(ApiError::field("steps", format!("{} are done: use more", run.step)));
    }
    if finished && !has_state {
        return Err(ApiError::conflict(
            "The state of this finished run is not in the artifact store: start a new run from its model instead.",
        ));
    }
    let spec = JobSpec::Train(TrainSpec { steps, ..run.spec });
    spec.validate()?;
    let job = state.store.requeue_job(run.job_id, &spec, ambient::now()).await?;
    let job = job.ok_or_else(|| ApiError::not_found("job"))?;
    let url = path::JOB.replace("{id}", &job.id.to_string());
    Ok(RunResumed { job: JobAccepted { id: job.id, url }, has_state })
}
