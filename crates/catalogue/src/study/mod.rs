//! Studies as rows: submitted, advanced as their jobs end, cancelled, and done again where a cell failed. No job or process
//! is the coordinator: whoever ends a job of a study submits what is due next.

pub mod folder;
pub mod results;
mod stored_evaluation;

use crate::models::Catalogue;
use domain::id::{JobId, StudyId};
use domain::job::{JobSpec, JobState};
use domain::problem::Problems;
use domain::study::{
    Cell, CellKind, CellResult, Measure, Planned, Study, StudyCell, StudySpec, StudySummary, cells,
    dependents, plan,
};
use process::ambient::{entropy, now};
use std::collections::BTreeMap;
use store::{Conflict, StoreError, StudyJob};
use stored_evaluation::StoredEvaluation;

/// Why a study cannot be submitted or advanced.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// A study of this name has another spec.
    #[error(
        "the study {name:?} exists with another spec, which differs in {}: give the new one another name",
        fields.join(", ")
    )]
    Differs {
        /// Name of the study.
        name: String,
        /// The fields that differ.
        fields: Vec<String>,
    },
    /// The spec has invalid fields, or a request names a cell that it does not have.
    #[error(transparent)]
    Invalid(#[from] Problems),
    /// The database does not answer or holds an inconsistent row.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What [`Catalogue::advance_study`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// It submitted this many jobs.
    Submitted(usize),
    /// Jobs are queued or running.
    Waiting,
    /// Nothing is left to do.
    Done,
}

impl Catalogue {
    /// Submits a study and its first jobs; a study of the same name and spec is returned as it is.
    ///
    /// # Errors
    /// Fails if the spec is invalid, or if a study of this name has another spec.
    pub async fn submit_study(&self, spec: &StudySpec) -> Result<Study, StudyError> {
        spec.validate()?;
        let study = self.store.submit_study(StudyId::new(now(), entropy()), spec, now()).await?;
        let fields = study.spec.differences(spec);
        if !fields.is_empty() {
            return Err(StudyError::Differs { name: spec.name.clone(), fields });
        }
        self.advance_study(&study).await?;
        Ok(study)
    }

    /// Submits the jobs that are due. Workers may call it at the same time.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn advance_study(&self, study: &Study) -> Result<Advance, StudyError> {
        let jobs = self.store.list_study_jobs(study.id).await?;
        let planned = plan(&study.spec, &self.cell_results(&study.spec, &jobs));
        let is_open = |state: &Planned| match state {
            Planned::Submitted(state) => !state.is_final(),
            Planned::Due(_) | Planned::Waiting => true,
            Planned::Blocked(_) => false,
        };
        if !planned.iter().any(|cell| is_open(&cell.state)) {
            return Ok(Advance::Done);
        }
        let due: Vec<(String, JobId, JobSpec)> = planned
            .into_iter()
            .filter_map(|cell| match cell.state {
                Planned::Due(job) => Some((cell.key, JobId::new(now(), entropy()), *job)),
                Planned::Submitted(_) | Planned::Waiting | Planned::Blocked(_) => None,
            })
            .collect();
        if due.is_empty() {
            return Ok(Advance::Waiting);
        }
        match self.store.enqueue_study_jobs(study.id, &due, now()).await? {
            0 => Ok(Advance::Waiting),
            added => Ok(Advance::Submitted(added)),
        }
    }

    /// A study with the state of its cells and an estimate of the time left.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn study_summary(&self, study: Study) -> Result<StudySummary, StudyError> {
        let jobs = self.store.list_study_jobs(study.id).await?;
        let results = self.cell_results(&study.spec, &jobs);
        let by_cell: BTreeMap<&str, &StudyJob> = jobs.iter().map(|job| (job.cell.as_str(), job)).collect();
        let cells: Vec<StudyCell> = plan(&study.spec, &results)
            .into_iter()
            .map(|planned| {
                let job = by_cell.get(planned.key.as_str());
                let seconds = job.and_then(|job| Some((job.started_at?, job.finished_at?)));
                let seconds =
                    seconds.map(|(start, end)| (end - start).num_milliseconds().max(0) as f64 / 1000.0);
                let (state, error) = match planned.state {
                    Planned::Submitted(state) => (state.as_str(), job.and_then(|job| job.error.clone())),
                    Planned::Due(_) | Planned::Waiting => ("waiting", None),
                    Planned::Blocked(by) => ("blocked", Some(format!("needs {by}"))),
                };
                StudyCell {
                    key: planned.key,
                    kind: planned.cell.kind(),
                    state: state.to_owned(),
                    job: job.map(|job| job.job),
                    progress: job.map_or(0, |job| job.progress),
                    total: job.map_or(0, |job| job.total),
                    error,
                    seconds,
                }
            })
            .collect();
        let done = cells.iter().filter(|cell| cell.is_done()).count();
        let estimate = seconds_left(&cells);
        Ok(StudySummary { study, cells, done, estimate })
    }

    /// Stops a study and its queued and running jobs. Returns whether it was running.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn cancel_study(&self, id: StudyId) -> Result<bool, StudyError> {
        let was_running = self.store.cancel_study(id, now()).await?;
        for job in self.store.list_study_jobs(id).await? {
            self.cancel_job(&job).await?;
        }
        Ok(was_running)
    }

    /// Submits cells again that failed or were cancelled: one, or all of the study. What was made from their results is made
    /// again too. Returns how many are forgotten.
    ///
    /// # Errors
    /// Fails if there is no such cell, or if it has not failed.
    pub async fn retry_study(&self, study: &Study, cell: Option<&str>) -> Result<usize, StudyError> {
        let jobs = self.store.list_study_jobs(study.id).await?;
        let failed: Vec<Cell> = cells(&study.spec)
            .into_iter()
            .filter(|of| {
                let key = of.key(&study.spec);
                let has_failed = |job: &&StudyJob| {
                    job.cell == key && matches!(job.state, JobState::Failed | JobState::Cancelled)
                };
                cell.is_none_or(|cell| cell == key) && jobs.iter().any(|job| has_failed(&job))
            })
            .collect();
        if let (Some(cell), true) = (cell, failed.is_empty()) {
            let problem = format!("{cell:?} is no cell of the study that failed or was cancelled");
            return Err(Problems::one("cell", problem).into());
        }
        let mut keys: Vec<String> = Vec::new();
        for cell in failed {
            keys.push(cell.key(&study.spec));
            keys.extend(dependents(&study.spec, cell));
        }
        keys.sort();
        keys.dedup();
        keys.retain(|key| jobs.iter().any(|job| job.cell == *key));
        for job in jobs.iter().filter(|job| keys.contains(&job.cell)) {
            self.cancel_job(job).await?;
        }
        self.store.retry_study_cells(study.id, &keys).await?;
        self.advance_study(study).await?;
        Ok(keys.len())
    }

    /// Requests that a job of a study stops, unless it has ended.
    async fn cancel_job(&self, job: &StudyJob) -> Result<(), StudyError> {
        if job.state.is_final() {
            return Ok(());
        }
        match self.store.request_cancel(job.job, now()).await {
            Ok(_) | Err(StoreError::Conflict(Conflict::JobEnded)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The results of the submitted cells by key.
    fn cell_results(&self, spec: &StudySpec, jobs: &[StudyJob]) -> BTreeMap<String, CellResult> {
        let measure = spec.tuning.as_ref().map(|tuning| tuning.metric);
        let trials: BTreeMap<String, Cell> = cells(spec)
            .into_iter()
            .filter_map(|cell| match cell {
                Cell::TrialEvaluation { method, data, trial } => {
                    Some((cell.key(spec), Cell::Trial { method, data, trial }))
                }
                _ => None,
            })
            .collect();
        let model_of = |cell: &Cell| {
            let key = cell.key(spec);
            jobs.iter().find(|job| job.cell == key)?.model.clone()
        };
        let result = |job: &StudyJob| {
            let trial = trials.get(&job.cell).filter(|_| job.state == JobState::Succeeded);
            let value = trial
                .zip(measure)
                .and_then(|(trial, measure)| self.tuning_value(job.job, &model_of(trial)?, measure));
            (job.cell.clone(), CellResult { state: job.state, model: job.model.clone(), value })
        };
        jobs.iter().map(result).collect()
    }

    /// The tuning measure of a trial's model. A report that cannot be read counts as a failed trial.
    fn tuning_value(&self, job: JobId, model: &str, measure: Measure) -> Option<f64> {
        match StoredEvaluation::figures(&self.artifacts, job) {
            Ok(figures) => figures.value(model, measure),
            Err(error) => {
                tracing::warn!(%job, "the report of a trial cannot be read: {error:#}");
                None
            }
        }
    }
}

/// Seconds of computation that are left, by the mean time of the finished cells of each kind; for a kind without one, of
/// those that are trained or evaluated alike.
fn seconds_left(cells: &[StudyCell]) -> Option<f64> {
    let mean = |matches: &dyn Fn(CellKind) -> bool| {
        let known: Vec<f64> = cells
            .iter()
            .filter(|cell| cell.state == "succeeded" && matches(cell.kind))
            .filter_map(|cell| cell.seconds)
            .collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    let trains = |kind: CellKind| matches!(kind, CellKind::Trial | CellKind::Final | CellKind::Ablation);
    let mut total = 0.0;
    for cell in cells.iter().filter(|cell| !cell.is_done()) {
        let alike = |kind: CellKind| trains(kind) == trains(cell.kind);
        total += mean(&|kind| kind == cell.kind).or_else(|| mean(&alike)).or_else(|| mean(&|_| true))?;
    }
    Some(total)
}
