//! The database and the artifact store, which trainer and server share.

use anyhow::Result;
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
    pub(crate) async fn open(&self) -> Result<(Store, Artifacts)> {
        Ok((Store::connect(&self.database_url).await?, Artifacts::open(&self.artifacts)?))
    }

    /// The catalogue over the storage and the models folder `models`.
    pub(crate) async fn catalogue(&self, models: &Path) -> Result<Catalogue> {
        let (store, artifacts) = self.open().await?;
        Ok(Catalogue { store, artifacts, models: ModelsFolder::new(models) })
    }
}
