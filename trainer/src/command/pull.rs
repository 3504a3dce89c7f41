//! `pull RUN_OR_MODEL`: copies a run or model of the database into a folder, with the layout of a run of `train`.

use crate::storage::StorageSettings;
use anyhow::Result;
use catalogue::local_models::LocalModels;
use catalogue::pull::Puller;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `pull`.
#[derive(Debug, Args)]
pub(crate) struct PullCommand {
    /// Name or id of a run or model. The last model of a finished run stands for the run.
    run_or_model: String,
    /// The folder to write. It must not exist; default: data/runs/NAME.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    storage: StorageSettings,
    /// Folder of bundled and imported models.
    #[arg(long, env = "MODELS", default_value = "models")]
    models: PathBuf,
}

impl PullCommand {
    pub(crate) fn run(self) -> Result<()> {
        let local = LocalModels { models: self.models.clone(), base_parts: None };
        let folder = self.storage.with_catalogue(&self.models, async |catalogue| {
            let puller = Puller { catalogue: &catalogue, local: &local };
            puller.pull(&self.run_or_model, self.out.as_deref()).await
        })?;
        println!("{}", folder.display());
        Ok(())
    }
}
