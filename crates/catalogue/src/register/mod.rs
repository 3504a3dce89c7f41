//! Runs, models and evaluations that were made in a terminal, brought into the database and the artifact store. Files
//! are copied before rows are inserted, ids are kept in the folders, and what exists is left as it is; so a
//! registration that was killed is repeated, and one that is repeated adds what is new.
//!
//! Everything here reads and copies files on the calling thread: it is for commands, not for the server.

mod evaluation;
mod folder;
mod run;

pub use evaluation::{EvaluatedModel, Evaluation};

use crate::local_models::{LocalModels, MAX_BASES};
use crate::models::Catalogue;
use crate::models_folder::{has_weights, weights_sha256};
use crate::run_folder;
use crate::run_manifest::RunManifest;
use anyhow::{Context, Result, bail, ensure};
use diffusion::fingerprint::{DEFAULTS, Fingerprint};
use diffusion::part_folders::PartFolders;
use domain::model::Model;
use domain::name::is_name;
use domain::run::Run;
use std::path::Path;

/// The worker that jobs name which were done in a terminal.
pub const TERMINAL: &str = "terminal";

/// Registers folders of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Registrar<'a> {
    /// Where rows and copies go.
    pub catalogue: &'a Catalogue,
    /// Where folders are found by name.
    pub local: &'a LocalModels,
}

/// The rows of a registered folder.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The run, if the folder is one.
    pub run: Option<Run>,
    /// All models of the run in order of creation, or the one model.
    pub models: Vec<Model>,
    /// How many of the models were inserted now.
    pub new: usize,
}

impl Registrar<'_> {
    /// Registers the folder of a run of `train` or of a model. The folder of a model within a run stands for the run.
    /// `name`: the name of the run or model in the database; default: the run's, or the folder's.
    ///
    /// # Errors
    /// Fails if the folder or its base is not a usable model, if a name is taken, if weights differ from those that were
    /// registered, or if a file or row cannot be written.
    pub async fn register(&self, folder: &Path, name: Option<&str>) -> Result<Registered> {
        if let Some(name) = name {
            ensure!(
                is_name(name),
                "--name {name:?}: use 1 to 100 letters, digits, '-', '_' or '.', not starting with '.'"
            );
        }
        self.register_folder(folder, name, 0).await
    }

    /// `depth`: how many models are being registered whose base this is.
    async fn register_folder(&self, found: &Path, name: Option<&str>, depth: usize) -> Result<Registered> {
        ensure!(depth < MAX_BASES, "{}: the bases of this model form a cycle", found.display());
        ensure!(
            found.is_dir(),
            "{} is not a folder: import a single file first, with diff-contrast-trainer import",
            found.display()
        );
        let folder = found.canonicalize().with_context(|| format!("cannot read {}", found.display()))?;
        let registered = match run_folder::run_of(&folder) {
            Some(run) => self.run(run, name, depth).await,
            None if run_folder::is_run(&folder) => self.run(&folder, name, depth).await,
            None => self.folder(&folder, name, depth).await,
        };
        registered.with_context(|| format!("registering {}", found.display()))
    }

    /// The row of a model that another one names, as base or as reference: that of its local folder; without one, the row
    /// of this name.
    async fn row_of(&self, named: &str, local: Option<&Path>, depth: usize) -> Result<Model> {
        let store = &self.catalogue.store;
        let by_name = store.find_model(named).await?;
        let Some(local) = local else {
            return by_name.with_context(|| {
                format!(
                    "the model {named:?} is neither in the database nor found on this machine: register it first, \
                     give its folder with --models, or run the command in the folder where the run was trained"
                )
            });
        };
        let sha256 = weights_sha256(&PartFolders::new(local, None))?;
        self.row_of_folder(local, &sha256, by_name, None, depth).await
    }

    /// The row of a local folder with these weights: the row of its name, if it is the same model; that of its run and
    /// step; or else any row with the weights that is. If there is none, the folder is registered, as `name`.
    async fn row_of_folder(
        &self,
        folder: &Path,
        sha256: &str,
        by_name: Option<Model>,
        name: Option<&str>,
        depth: usize,
    ) -> Result<Model> {
        if let Some(row) = by_name.filter(|row| row.sha256 == sha256)
            && self.differences(folder, &row).await.is_empty()
        {
            return Ok(row);
        }
        let canonical = folder.canonicalize().with_context(|| format!("cannot read {}", folder.display()))?;
        let run = run_folder::run_of(&canonical);
        // A run with an id has rows of its own, even if another run has the same weights.
        let has_id = run.map(RunManifest::read).transpose()?.flatten().is_some();
        if !has_id
            && let Some(row) = self.catalogue.store.get_model_by_sha256(sha256).await?
            && self.differences(folder, &row).await.is_empty()
        {
            return Ok(row);
        }
        // A run keeps its own name, for it may have several models.
        let name = name.filter(|_| run.is_none());
        let models = Box::pin(self.register_folder(folder, name, depth + 1)).await?.models;
        let step = run_folder::step_of(&canonical).map(i64::from).filter(|_| run.is_some());
        match models.into_iter().find(|model| model.sha256 == sha256 && model.step == step) {
            Some(model) => Ok(model),
            None => {
                bail!("the weights in {} changed while they were registered: try again", folder.display())
            }
        }
    }

    /// What decides images and differs between a local folder and the files of a row with equal weights. Nothing if one of
    /// them is not complete here, such as an adapter without a base.
    async fn differences(&self, folder: &Path, row: &Model) -> Vec<String> {
        let of = |folders: &PartFolders| Fingerprint::of(folders).ok().map(|of| of.without(DEFAULTS));
        let bases = self.local.bases(folder).ok();
        let here = bases.and_then(|bases| of(&PartFolders::with_bases(folder, bases)));
        let there = self.catalogue.files(row).await.ok().and_then(|files| of(&files.folders()));
        here.zip(there).map(|(here, there)| here.differences(&there)).unwrap_or_default()
    }
}

/// Copies a model's folder to its place in the artifact store, and checks the copy. A copy without a row may stay from
/// an attempt that was killed; it is replaced if its weights differ.
fn copy_model(from: &Path, to: &Path, sha256: &str) -> Result<()> {
    if to.exists() {
        if has_weights(to, sha256) {
            return Ok(());
        }
        std::fs::remove_dir_all(to).with_context(|| format!("cannot replace {}", to.display()))?;
    }
    files::write_folder_atomically(to, |part| {
        files::copy_folder(from, part)?;
        ensure!(has_weights(part, sha256), "{} changed while it was copied: try again", from.display());
        Ok(())
    })
}
