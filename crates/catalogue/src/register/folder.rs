//! A folder that is one model: of an import, of a run without its run's folder, or any in diffusers layout.

use super::{Registered, Registrar, copy_model};
use crate::local_models::read_spec;
use crate::models_folder::{inspect, register_model, weights_sha256};
use anyhow::{Context, Result, ensure};
use diffusion::layout::{MODEL_INDEX, Origin};
use diffusion::part_folders::PartFolders;
use domain::id::ModelId;
use domain::model::Model;
use domain::name::is_name;
use process::ambient;
use std::path::{Path, PathBuf};

impl Registrar<'_> {
    /// `folder` is canonical.
    pub(super) async fn folder(&self, folder: &Path, name: Option<&str>, depth: usize) -> Result<Registered> {
        let sha256 = weights_sha256(&PartFolders::new(folder, None)).context(
            "is neither a run nor a model: it has no run.json, no models/, no unet/ and no LoRA adapter",
        )?;
        let own_name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = name.unwrap_or(&own_name);
        ensure!(is_name(name), "{name:?} cannot be a model's name: give one with --name");
        let store = &self.catalogue.store;
        if let Some(row) = store.get_model_by_name(name).await? {
            ensure!(
                row.sha256 == sha256,
                "a model {name:?} with other weights is in the database (SHA-256 {:.12} there, {sha256:.12} here): \
                 give another name with --name",
                row.sha256
            );
            let differing = self.differences(folder, &row).await;
            ensure!(
                differing.is_empty(),
                "a model {name:?} with the same weights is in the database, but it differs in: {}. Give another name with \
                 --name",
                differing.join(", ")
            );
            return Ok(Registered { run: None, models: vec![row], new: 0 });
        }
        let base = self.base_of(folder, depth).await?;
        let is_in_models_folder =
            self.local.models.canonicalize().is_ok_and(|models| folder.parent() == Some(&models));
        let model = if is_in_models_folder {
            // As the server does when it starts: files of the models folder are not copied.
            ensure!(
                name == own_name,
                "--name: a model of the models folder has its folder's name, {own_name:?}"
            );
            register_model(store, name, folder).await?;
            store.get_model_by_name(name).await?.context("the row was deleted")?
        } else {
            self.copied(folder, name, sha256, base).await?
        };
        Ok(Registered { run: None, models: vec![model], new: 1 })
    }

    async fn copied(&self, folder: &Path, name: &str, sha256: String, base: Option<Model>) -> Result<Model> {
        let origin = Origin::read(folder)?.unwrap_or_default();
        let spec = read_spec(folder)?;
        let base_folder = base.as_ref().map(|base| self.catalogue.folder(base)).transpose()?;
        let description = match (&spec, &base) {
            (Some(spec), Some(base)) => format!("{} from {}", spec.objective.kind(), base.name),
            _ => inspect(folder, base_folder.as_deref(), &origin)?.0,
        };
        // A folder without a row is left from an attempt that was killed, or its copy is complete.
        let key = format!("models/{name}");
        copy_model(folder, &self.catalogue.artifacts.path(&key)?, &sha256)?;
        let now = ambient::now();
        let model = Model {
            id: ModelId::new(now, ambient::entropy()),
            name: name.to_owned(),
            folder: key,
            sha256,
            base_id: base.map(|base| base.id),
            run_id: None,
            step: None,
            objective: spec.map(|spec| spec.objective.kind().to_owned()),
            description,
            created_at: now,
        };
        self.catalogue.store.insert_model(&model, None).await?;
        Ok(model)
    }

    /// The row of the base that a folder names, in `spec.json` or `origin.json`, or that `--base-parts` gives to a folder
    /// that is not complete.
    async fn base_of(&self, folder: &Path, depth: usize) -> Result<Option<Model>> {
        let (named, local): (String, Option<PathBuf>) =
            if let Some(base) = Origin::read(folder)?.and_then(|origin| origin.base) {
                let sibling = folder.parent().map(|parent| parent.join(&base));
                (base, sibling.filter(|folder| folder.is_dir()))
            } else if let Some(spec) = read_spec(folder)? {
                let local = self.local.named(&spec.base).ok();
                (spec.base, local)
            } else if folder.join(MODEL_INDEX).is_file() {
                return Ok(None);
            } else if let Some(parts) = &self.local.base_parts {
                (parts.display().to_string(), Some(parts.clone()))
            } else {
                return Ok(None);
            };
        self.row_of(&named, local.as_deref(), depth).await.context("base").map(Some)
    }
}
