//! Where models lie: bundled ones in the models folder, trained ones in the artifact store.

use anyhow::{Context, Result};
use diffusion::layout::Origin;
use diffusion::lora::WEIGHTS_FILE;
use diffusion::model_folders::ModelFolders as Folders;
use domain::model::Model;
use std::path::{Path, PathBuf};
use store::{Artifacts, Store};

/// Finds models and their folders.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// Rows.
    pub store: Store,
    /// Folders of trained models.
    pub artifacts: Artifacts,
    /// Folders of bundled models.
    pub models: PathBuf,
}

impl Catalogue {
    /// The model of a name or id, and its folders: what its own lacks is its ancestors'.
    ///
    /// # Errors
    /// There is no such model.
    pub async fn find(&self, name_or_id: &str) -> Result<(Model, Folders)> {
        let model = self.store.find_model(name_or_id).await?.with_context(|| {
            format!("there is no model {name_or_id:?}: look at the Models page for those there are")
        })?;
        let ancestors = self.store.list_ancestors(&model).await.context("the model's base is gone")?;
        let bases = ancestors.iter().map(|ancestor| self.folder(ancestor)).collect::<Result<_>>()?;
        let folders = Folders::with_bases(&self.folder(&model)?, bases);
        Ok((model, folders))
    }

    fn folder(&self, model: &Model) -> Result<PathBuf> {
        // A bundled model's row may remember another checkout's path.
        let bundled = self.models.join(&model.name);
        let is_there = Origin::is_model(&bundled) || bundled.join(WEIGHTS_FILE).is_file();
        if model.run_id.is_none() && is_there {
            return Ok(bundled);
        }
        let folder = Path::new(&model.folder);
        if folder.is_absolute() { Ok(folder.to_owned()) } else { Ok(self.artifacts.path(&model.folder)?) }
    }
}
