//! Models as rows and folders: from a name or id to the folder of every part.

use crate::models_folder::{ModelsFolder, name_in_models_folder};
use diffusion::part_folders::PartFolders;
use domain::id::ModelId;
use domain::model::Model;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use store::{ArtifactError, Artifacts, Store, StoreError};

/// Where models and images are kept: rows in the database, files in the artifact store and in the models folder.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// The database.
    pub store: Store,
    /// Files of trained models, images and reports.
    pub artifacts: Artifacts,
    /// Bundled and imported models.
    pub models: ModelsFolder,
}

/// Why a model cannot be found or used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No row has this name or id.
    #[error("no model is called {0:?}: the Models page lists all models")]
    Unknown(String),
    /// The row exists, but its files cannot be used.
    #[error("model {name:?} cannot be used: {problem}")]
    Unusable {
        /// The model's name.
        name: String,
        /// What is wrong with its files.
        problem: String,
    },
    /// The database does not answer or holds an inconsistent row.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The row's folder is not an artifact key.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// The folders of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFiles {
    /// The model's id.
    pub id: ModelId,
    /// The model's name.
    pub name: String,
    /// The model's own folder.
    pub folder: PathBuf,
    /// The ancestors' folders, nearest first; they hold the parts that `folder` lacks.
    pub bases: Vec<PathBuf>,
}

impl ModelFiles {
    /// The folders in the order in which pipelines look for a part.
    #[must_use]
    pub fn folders(&self) -> PartFolders {
        PartFolders::with_bases(&self.folder, self.bases.clone())
    }
}

impl Catalogue {
    /// The model with this name or id, and its folders.
    ///
    /// # Errors
    /// Fails if there is no such model or its files cannot be used.
    pub async fn find(&self, name_or_id: &str) -> Result<(Model, PartFolders), ModelError> {
        let Some(model) = self.store.find_model(name_or_id).await? else {
            let name = name_or_id.chars().take(100).collect();
            return Err(match self.models.problem(name_or_id) {
                Some(problem) => ModelError::Unusable { name, problem },
                None => ModelError::Unknown(name),
            });
        };
        let folders = self.files(&model).await?.folders();
        Ok((model, folders))
    }

    /// The folders of a model and of its ancestors.
    ///
    /// # Errors
    /// Fails if an ancestor's row was deleted or a folder cannot be used.
    pub async fn files(&self, model: &Model) -> Result<ModelFiles, ModelError> {
        let ancestors = self.store.list_ancestors(model).await.map_err(|error| match error {
            StoreError::Missing(_) => without_base(model),
            error => error.into(),
        })?;
        self.folders_of(model, &ancestors.iter().collect::<Vec<_>>())
    }

    /// As [`Self::files`], with the rows of all models at hand.
    ///
    /// # Errors
    /// As [`Self::files`].
    pub fn files_among(
        &self,
        model: &Model,
        all: &HashMap<ModelId, Model>,
    ) -> Result<ModelFiles, ModelError> {
        let mut ancestors: Vec<&Model> = Vec::new();
        let mut next = model.base_id;
        while let Some(id) = next {
            // A cycle, which only manual edits can create, ends the list.
            if id == model.id || ancestors.iter().any(|known| known.id == id) {
                break;
            }
            let base = all.get(&id).ok_or_else(|| without_base(model))?;
            next = base.base_id;
            ancestors.push(base);
        }
        self.folders_of(model, &ancestors)
    }

    fn folders_of(&self, model: &Model, ancestors: &[&Model]) -> Result<ModelFiles, ModelError> {
        let bases = ancestors.iter().map(|ancestor| self.folder(ancestor)).collect::<Result<_, _>>()?;
        Ok(ModelFiles { id: model.id, name: model.name.clone(), folder: self.folder(model)?, bases })
    }

    /// The model's own folder. A model without a run is in the models folder, wherever that is now. A trained model is in
    /// the artifact store.
    ///
    /// # Errors
    /// Fails if the folder in the models folder cannot be used, or if the row's folder is not an artifact key.
    pub fn folder(&self, model: &Model) -> Result<PathBuf, ModelError> {
        if model.run_id.is_none()
            && let Some(found) = self.models.find(&model.name)
        {
            return found.map_err(|problem| ModelError::Unusable { name: model.name.clone(), problem });
        }
        if let Some(name) = name_in_models_folder(&model.folder) {
            let root = self.models.root().display();
            let missing =
                || Err(format!("the models folder {root} has no model {name:?}: copy or import it there"));
            let found = self.models.find(name).unwrap_or_else(missing);
            return found.map_err(|problem| ModelError::Unusable { name: model.name.clone(), problem });
        }
        let folder = Path::new(&model.folder);
        if folder.is_absolute() { Ok(folder.to_owned()) } else { Ok(self.artifacts.path(&model.folder)?) }
    }
}

fn without_base(model: &Model) -> ModelError {
    let problem = "the model it was trained from was deleted".to_owned();
    ModelError::Unusable { name: model.name.clone(), problem }
}
