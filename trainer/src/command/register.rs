//! `register RUN_OR_MODEL`: brings a run of `train`, or a model in a folder, into database and artifact store.

use crate::storage::StorageSettings;
use anyhow::Result;
use catalogue::local_models::LocalModels;
use catalogue::register::{Registered, Registrar};
use clap::Args;
use std::path::Path;

/// Arguments of `register`.
#[derive(Debug, Args)]
pub(crate) struct RegisterCommand {
    /// A run in data/runs, the folder of a run, or the folder of a model.
    run_or_model: String,
    /// Name in the database; default: the run's name, or that of the model's folder.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    storage: StorageSettings,
    #[command(flatten)]
    models: LocalModels,
}

impl RegisterCommand {
    pub(crate) fn run(self) -> Result<()> {
        let folder = self.models.place(&self.run_or_model)?;
        register(&self.storage, &self.models, &folder, self.name.as_deref())
    }
}

/// Registers the folder of a run or model, and prints what is in the database afterwards.
pub(super) fn register(
    storage: &StorageSettings,
    models: &LocalModels,
    folder: &Path,
    name: Option<&str>,
) -> Result<()> {
    let registered = storage.with_catalogue(&models.models, async |catalogue| {
        Registrar { catalogue: &catalogue, local: models }.register(folder, name).await
    })?;
    print(&registered);
    Ok(())
}

fn print(registered: &Registered) {
    let Registered { run, models, new } = registered;
    if let Some(run) = run {
        println!("{}: run {}, {}, step {} of {}", run.name, run.id, run.state, run.step, run.spec.steps);
    }
    for model in models {
        println!("model {} (sha256 {:.12})", model.name, model.sha256);
    }
    println!("{new} of {} models are new in the database", models.len());
}
