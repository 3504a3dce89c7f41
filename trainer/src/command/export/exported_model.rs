//! The model to export, found on disk or in the database.

use crate::storage::StorageSettings;
use anyhow::{Context, Result};
use catalogue::local_models::{LocalModels, read_spec};
use catalogue::run_folder;
use diffusion::lora::WEIGHTS_FILE;
use diffusion::part_folders::PartFolders;
use std::path::{Path, PathBuf};

/// A model to export.
pub(super) struct ExportedModel {
    pub(super) name: String,
    pub(super) folders: PartFolders,
    /// Name of the base.
    pub(super) base: Option<String>,
    /// The step of its run after which the model was saved.
    pub(super) step: Option<i64>,
}

impl ExportedModel {
    /// A folder is tried before the database, so that models are exported without one.
    pub(super) fn find(name: &str, models: &LocalModels, storage: &StorageSettings) -> Result<Self> {
        let is_model = |folder: &PathBuf| folder.join("unet").is_dir() || folder.join(WEIGHTS_FILE).is_file();
        match models.named(name).ok().filter(is_model) {
            Some(folder) => Self::in_folder(name, &folder, models),
            None => Self::in_database(name, &models.models, storage),
        }
    }

    fn in_folder(name: &str, folder: &Path, models: &LocalModels) -> Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("cannot read {}", folder.display()))?;
        let spec = read_spec(&folder)?;
        let bases = models.bases(&folder)?;
        let base = bases.first().and_then(|base| base.file_name());
        Ok(Self {
            name: spec.map_or_else(|| name.to_owned(), |spec| spec.name),
            base: base.map(|base| base.to_string_lossy().into_owned()),
            step: run_folder::step_of(&folder).map(i64::from),
            folders: PartFolders::with_bases(&folder, bases),
        })
    }

    fn in_database(name: &str, models: &Path, storage: &StorageSettings) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let catalogue = storage.catalogue(models).await.with_context(|| {
                format!(
                    "{name} is not a folder of a model, and the database with all models cannot be opened"
                )
            })?;
            let (model, folders) = catalogue.find(name).await?;
            let base = match model.base_id {
                Some(id) => catalogue.store.get_model(id).await?.map(|base| base.name),
                None => None,
            };
            Ok(Self { name: model.name, folders, base, step: model.step })
        })
    }
}
