//! Studies: what is due next is submitted by whoever ends a job of the study, or finds the queue empty.

use super::Worker;
use anyhow::Result;
use catalogue::models::Catalogue;
use catalogue::study::{Advance, folder};
use domain::id::JobId;
use domain::study::{Study, StudyState, StudySummary};
use process::ambient::now;
use std::path::Path;
use training::recipes::study::write_report;

impl Worker {
    /// Advances the study that a job belongs to. An error is logged: the next worker that finds the queue empty tries again.
    pub(super) fn advance_study_of(&self, job: JobId) {
        let store = &self.catalogue.store;
        let advanced = (|| -> Result<()> {
            let Some(id) = self.runtime.block_on(store.get_study_of_job(job))? else { return Ok(()) };
            match self.runtime.block_on(store.get_study(id))? {
                Some(study) if study.state == StudyState::Running => self.advance(&study).map(drop),
                _ => Ok(()),
            }
        })();
        if let Err(error) = advanced {
            tracing::warn!("cannot advance the study of this job: {error:#}");
        }
    }

    /// Advances the running studies that have no job in the queue. Returns whether there may be new jobs.
    pub(super) fn advance_idle_studies(&self) -> Result<bool> {
        let mut submitted = false;
        for study in self.runtime.block_on(self.catalogue.store.list_idle_studies())? {
            submitted |= matches!(self.advance(&study)?, Advance::Submitted(_));
        }
        Ok(submitted)
    }

    /// Submits what is due, and ends the study with its report if nothing is left.
    fn advance(&self, study: &Study) -> Result<Advance> {
        let advance = self.runtime.block_on(self.catalogue.advance_study(study))?;
        match advance {
            Advance::Submitted(count) => {
                tracing::info!(study = study.spec.name, count, "submitted jobs");
            }
            Advance::Waiting => {}
            Advance::Done => {
                let folder = self.catalogue.artifacts.path(&folder::key(study.id))?;
                // A report that cannot be written must not keep the study from ending.
                if let Err(error) = self.write_study(study, &folder) {
                    tracing::error!(study = study.spec.name, "cannot write the report: {error:#}");
                }
                if self.runtime.block_on(self.catalogue.store.finish_study(study.id, now()))? {
                    tracing::info!(study = study.spec.name, report = %folder.display(), "finished");
                }
            }
        }
        Ok(advance)
    }

    /// Work on the catalogue, in the worker's async runtime.
    pub(crate) fn block_on<T>(&self, work: impl AsyncFnOnce(&Catalogue) -> Result<T>) -> Result<T> {
        self.runtime.block_on(work(&self.catalogue))
    }

    /// The state of a study now.
    pub(crate) fn study(&self, study: &Study) -> Result<StudySummary> {
        self.block_on(async |catalogue| {
            let now = catalogue.store.get_study(study.id).await?;
            Ok(catalogue.study_summary(now.unwrap_or_else(|| study.clone())).await?)
        })
    }

    /// Writes the results of a study and their report into a folder.
    pub(crate) fn write_study(&self, study: &Study, to: &Path) -> Result<()> {
        let (results, images) = self.runtime.block_on(self.catalogue.study_results(study.clone()))?;
        folder::write(to, &results, &images)?;
        folder::write_times(to, &self.runtime.block_on(self.catalogue.store.list_study_jobs(study.id))?)?;
        write_report(to).map(drop)
    }
}
