//! The database and the artifact store, which trainer and server share.

use anyhow::{Context, Result};
use catalogue::models::Catalogue;
use catalogue::models_folder::ModelsFolder;
use clap::Args;
use std::path::{Path, PathBuf};
use store::{Artifacts, Store};

/// Where rows and files are kept.
#[derive(Clone, Debug, Args)]
pub(crate) struct StorageSettings {
    /// Database of the server and its workers.
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite://data/diff-contrast.db"
    )]
    database_url: String,
    /// Folder of images and checkpoints, shared with the server.
    #[arg(long, env = "ARTIFACTS", default_value = "data/artifacts")]
    artifacts: PathBuf,
}

impl StorageSettings {
    /// Storage at these places, whatever the flags and variables say.
    pub(crate) fn at(database_url: String, artifacts: PathBuf) -> Self {
        Self { database_url, artifacts }
    }

    pub(crate) async fn open(&self) -> Result<(Store, Artifacts)> {
        Ok((Store::connect(&self.database_url).await?, Artifacts::open(&self.artifacts)?))
    }

    /// The catalogue over the storage and the models folder `models`.
    pub(crate) async fn catalogue(&self, models: &Path) -> Result<Catalogue> {
        let (store, artifacts) = self.open().await?;
        Ok(Catalogue { store, artifacts, models: ModelsFolder::new(models) })
    }

    /// Runs a command's work on the catalogue, in an async runtime of its own, and closes the database.
    pub(crate) fn with_catalogue<T>(
        &self,
        models: &Path,
        work: impl AsyncFnOnce(Catalogue) -> Result<T>,
    ) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the async runtime")?;
        runtime.block_on(async {
            let catalogue = self.catalogue(models).await?;
            let store = catalogue.store.clone();
            let outcome = work(catalogue).await;
            store.close().await;
            outcome
        })
    }
}
