//! How a run is read: from its row, its job's and its tags.

use crate::db::parsed;
use crate::error::StoreError;
use domain::Timestamp;
use domain::id::{JobId, ModelId, RunId};
use domain::job::JobSpec;
use domain::run::Run;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
pub(crate) struct RunRow {
    id: Uuid,
    job_id: Uuid,
    name: String,
    step: i64,
    spec: String,
    state: String,
    error: Option<String>,
    model_id: Option<Uuid>,
    /// Separated by spaces, which tags do not contain.
    tags: Option<String>,
    notes: String,
    pinned: bool,
    archived: bool,
    created_at: Timestamp,
    queued_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    worked_ms: i64,
    finished_at: Option<Timestamp>,
}

impl TryFrom<RunRow> for Run {
    type Error = StoreError;
    fn try_from(row: RunRow) -> Result<Self, StoreError> {
        let spec = match serde_json::from_str(&row.spec) {
            Ok(JobSpec::Train(spec)) => Ok(spec),
            Ok(JobSpec::Evaluate(_)) | Err(_) => Err(()),
        };
        let mut tags: Vec<String> =
            row.tags.iter().flat_map(|tags| tags.split(' ')).map(str::to_owned).collect();
        tags.sort_unstable();
        Ok(Self {
            id: RunId(row.id),
            job_id: JobId(row.job_id),
            name: row.name,
            spec: parsed(spec, "jobs", "spec", row.job_id)?,
            state: parsed(row.state.parse(), "jobs", "state", row.job_id)?,
            step: row.step,
            error: row.error,
            model_id: row.model_id.map(ModelId),
            tags,
            notes: row.notes,
            pinned: row.pinned,
            archived: row.archived,
            created_at: row.created_at,
            queued_at: row.queued_at.unwrap_or(row.created_at),
            started_at: row.started_at,
            worked_ms: row.worked_ms,
            finished_at: row.finished_at,
        })
    }
}

macro_rules! select_runs {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.job_id, r.name, r.step, r.notes, r.pinned, r.archived, j.spec, j.state, j.error, ",
            "j.created_at, j.queued_at, j.started_at, j.worked_ms, j.finished_at, ",
            "(SELECT m.id FROM models m WHERE m.run_id = r.id ORDER BY m.id DESC LIMIT 1) AS model_id, ",
            "(SELECT string_agg(t.tag, ' ') FROM run_tags t WHERE t.run_id = r.id) AS tags ",
            "FROM runs r JOIN jobs j ON j.id = r.job_id ",
            $rest
        )
    };
}
pub(crate) use select_runs;
