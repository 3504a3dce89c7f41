//! The deletion of a run, and the state from which it can go on.

use crate::models::Catalogue;
use crate::run_folder;
use domain::api::RunDeletion;
use domain::id::RunId;
use domain::run::Run;
use std::io;
use std::path::PathBuf;
use store::{Conflict, StoreError};

/// Why a run was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum RunDeletionError {
    /// What breaks without it.
    #[error("{}", .0.join(", "))]
    InUse(Vec<String>),
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Catalogue {
    /// The folder of a run's files; none if the artifact store has no such place.
    fn run_files(&self, id: RunId) -> Option<PathBuf> {
        self.artifacts.path(&run_folder::key(id)).ok()
    }

    /// Whether the state is there from which a run can be resumed or prolonged.
    #[must_use]
    pub fn has_state(&self, id: RunId) -> bool {
        self.run_files(id).is_some_and(|folder| folder.join(run_folder::STATE).is_file())
    }

    /// What the deletion of a run would do.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn deletion_of(&self, run: &Run) -> Result<RunDeletion, StoreError> {
        let mut blocked_by = Vec::new();
        if !run.state.is_final() {
            blocked_by.push(format!("its job, which is {}: cancel it first", run.state));
        }
        if let Some((_, study)) = self.store.study_of_run(run.id).await? {
            blocked_by.push(format!("study {study}, whose report has its scores"));
        }
        let (votes, samples) = self.store.count_samples(run.id).await?;
        match votes {
            0 => {}
            1 => blocked_by.push("1 vote on its samples".to_owned()),
            count => blocked_by.push(format!("{count} votes on its samples")),
        }
        let models = self.store.list_models_of_run(run.id).await?;
        Ok(RunDeletion {
            blocked_by,
            samples,
            kept_models: models.into_iter().map(|model| model.name).collect(),
            has_state: self.has_state(run.id),
        })
    }

    /// Deletes a run that nothing depends on, with its curves, samples and state. Its models and their files stay.
    ///
    /// # Errors
    /// Fails with what depends on it, or if the database refuses.
    pub async fn delete_run(&self, run: &Run) -> Result<(), RunDeletionError> {
        let deletion = self.deletion_of(run).await?;
        if !deletion.blocked_by.is_empty() {
            return Err(RunDeletionError::InUse(deletion.blocked_by));
        }
        let artifacts = self.store.remove_run(run.id).await.map_err(|error| match error {
            StoreError::Conflict(conflict @ (Conflict::RunInUse | Conflict::JobNotEnded)) => {
                RunDeletionError::InUse(vec![conflict.to_string()])
            }
            error => error.into(),
        })?;
        // The rows are gone: what cannot be removed now is only space.
        for key in artifacts {
            let removed = self.artifacts.path(&key).map(std::fs::remove_file);
            if !matches!(removed, Ok(Ok(()))) {
                tracing::warn!(key, ?removed, "a sample of a deleted run remains");
            }
        }
        if let Some(folder) = self.run_files(run.id) {
            let removed = if deletion.kept_models.is_empty() {
                std::fs::remove_dir_all(&folder)
            } else {
                std::fs::remove_file(folder.join(run_folder::STATE))
            };
            if let Err(error) = removed.or_else(none_is_fine) {
                tracing::warn!(folder = %folder.display(), %error, "files of a deleted run remain");
            }
        }
        Ok(())
    }
}

/// What is not there need not be removed.
fn none_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
