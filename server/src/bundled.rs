//! Models that lie in the models folder, bundled or imported: known from the start, under their folders' names.

use crate::ambient;
use anyhow::{Context, Result, ensure};
use diffusion::layout::{MODEL_INDEX, Origin};
use diffusion::lora::WEIGHTS_FILE;
use diffusion::model_folders::ModelFolders as Folders;
use domain::id::ModelId;
use domain::model::Model;
use domain::train::is_name;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use store::Store;

/// Where the models of the folder lie now, and what is wrong with those that cannot be used.
#[derive(Debug, Default)]
pub(crate) struct Bundled {
    found: HashMap<String, Result<Found, String>>,
}

/// A folder with the weights that its row names.
#[derive(Debug)]
struct Found {
    folder: PathBuf,
}

impl Bundled {
    /// Looks at every sub-folder with a `model_index.json`, an `origin.json` that names a base, or a LoRA adapter, and
    /// makes it a model unless it is one. A folder that cannot be read is told and does not stop the others.
    pub(crate) async fn register(store: &Store, models: &Path) -> Result<Self> {
        let mut bundled = Self::default();
        for (name, folder) in folders(models) {
            let outcome = register(store, &name, &folder).await;
            match &outcome {
                Ok(_) => tracing::info!(model = name, folder = %folder.display(), "bundled model"),
                Err(problem) => tracing::warn!(model = name, folder = %folder.display(), "{problem:#}"),
            }
            bundled.found.insert(name, outcome.map_err(|problem| format!("{problem:#}")));
        }
        if bundled.found.is_empty() {
            tracing::warn!(folder = %models.display(), "no bundled model: no sub-folder is in diffusers layout");
        }
        Ok(bundled)
    }

    /// Where a model of this name lies, if it is bundled: its row may remember another checkout's path.
    pub(crate) fn folder(&self, name: &str) -> Option<Result<&Path, &str>> {
        let found = self.found.get(name)?;
        Some(found.as_ref().map(|found| found.folder.as_path()).map_err(String::as_str))
    }

    /// Folders that are no models yet, with what is wrong with them.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        self.found.iter().filter_map(|(name, found)| Some((name.as_str(), found.as_ref().err()?.as_str())))
    }
}

/// Whether a folder holds an adapter and no network of its own.
pub(crate) fn is_adapter(folder: &Path) -> bool {
    folder.join(WEIGHTS_FILE).is_file() && !folder.join("unet").exists()
}

fn folders(models: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(models).into_iter().flatten().flatten();
    let mut folders: Vec<(String, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter(|folder| Origin::is_model(folder) || is_adapter(folder))
        .filter_map(|folder| Some((folder.file_name()?.to_str()?.to_owned(), folder)))
        // An import that is not finished.
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    // Bases before what lies over them.
    folders.sort_by_key(|(name, folder)| (!folder.join(MODEL_INDEX).is_file(), name.clone()));
    folders
}

async fn register(store: &Store, name: &str, folder: &Path) -> Result<Found> {
    ensure!(is_name(name), "the folder's name is no model name: use letters, digits, '-', '_' and '.'");
    let folder = folder.canonicalize().with_context(|| format!("reading {}", folder.display()))?;
    let origin = Origin::read(&folder)?.unwrap_or_default();
    let base = match &origin.base {
        Some(base) => Some(store.get_model_by_name(base).await?.with_context(|| {
            format!("its base {base:?} is no model here: import it, or put its folder beside this one")
        })?),
        None => None,
    };
    let (description, sha256) = {
        let (folder, base) = (folder.clone(), Origin::base_of(&folder)?);
        tokio::task::spawn_blocking(move || look(&folder, base.as_deref(), &origin)).await??
    };
    if let Some(row) = store.get_model_by_name(name).await? {
        ensure!(
            row.sha256 == sha256,
            "its weights are others than those that the database knows as {name:?} ({} there, {} here), whose images \
             and votes would become this one's: rename the folder to have both",
            &row.sha256[..12.min(row.sha256.len())],
            &sha256[..12]
        );
        return Ok(Found { folder });
    }
    let now = ambient::now();
    let model = Model {
        id: ModelId::new(now, ambient::entropy()),
        name: name.to_owned(),
        folder: folder.display().to_string(),
        sha256,
        base_id: base.map(|base| base.id),
        run_id: None,
        step: None,
        objective: None,
        description,
        created_at: now,
    };
    match store.insert_model(&model, None).await {
        // Another server on the same database was faster.
        Ok(()) | Err(store::StoreError::Conflict(store::Conflict::ModelName)) => Ok(Found { folder }),
        Err(error) => Err(error.into()),
    }
}

/// Reads what can be told without loading it: that its configs are understood, its description, its weights' name.
fn look(folder: &Path, base: Option<&Path>, origin: &Origin) -> Result<(String, String)> {
    let weights = if is_adapter(folder) {
        vec![folder.join(WEIGHTS_FILE)]
    } else {
        Folders::new(folder, base).defaults()?;
        // Shards one after the other, as if they were one file.
        diffusion::unet::Unet::files(&Folders::new(folder, None).part("unet")?)?.1.files().to_vec()
    };
    let mut hasher = Sha256::new();
    for path in &weights {
        let mut file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
        std::io::copy(&mut file, &mut hasher).with_context(|| format!("reading {}", path.display()))?;
    }
    let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut description = description(folder);
    if description.is_empty() && !origin.source.is_empty() {
        description = format!("Imported from {}.", origin.source);
    }
    Ok((description, sha256))
}

/// The first sentence line of the model card, if there is one.
fn description(folder: &Path) -> String {
    let card = std::fs::read_to_string(folder.join("README.md")).unwrap_or_default();
    // A card may begin with a block of metadata between two lines of dashes.
    let text = card
        .strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---\n"))
        .map_or(card.as_str(), |(_, text)| text);
    text.split("\n\n")
        .map(str::trim)
        .find(|paragraph| !paragraph.is_empty() && !paragraph.starts_with(['#', '!', '|', '`', '<', '-']))
        .map(|paragraph| paragraph.replace('\n', " ").chars().take(300).collect())
        .unwrap_or_default()
}
