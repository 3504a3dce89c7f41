//! The models folder: bundled and imported models, each in a sub-folder of its name. The server registers them in the
//! database at startup.

use anyhow::{Context, Result, ensure};
use diffusion::layout::{MODEL_INDEX, Origin};
use diffusion::lora::WEIGHTS_FILE;
use diffusion::part_folders::PartFolders;
use diffusion::unet::Unet;
use domain::id::ModelId;
use domain::model::Model;
use domain::name::is_name;
use files::sha256;
use process::ambient;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::Store;

/// The models folder, and what registration found in it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ModelsFolder {
    root: PathBuf,
    /// By name: the folder, or why it is no usable model. Empty unless registered.
    registered: Arc<HashMap<String, Result<PathBuf, String>>>,
}

impl ModelsFolder {
    /// A models folder without registration: every lookup reads the disk.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), registered: Arc::default() }
    }

    /// Inserts a row for every sub-folder that is a model and has none: one with a `model_index.json`, an
    /// `origin.json` that names a base, or a LoRA adapter. An unreadable folder is logged and does not stop the
    /// others.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn register(store: &Store, root: &Path) -> Result<Self> {
        let mut registered = HashMap::new();
        for (name, folder) in model_folders(root) {
            let outcome = register_model(store, &name, &folder).await;
            match &outcome {
                Ok(_) => tracing::info!(model = name, folder = %folder.display(), "registered model"),
                Err(problem) => tracing::warn!(model = name, folder = %folder.display(), "{problem:#}"),
            }
            registered.insert(name, outcome.map_err(|problem| without_root(&format!("{problem:#}"), root)));
        }
        if registered.is_empty() {
            tracing::warn!(folder = %root.display(), "no bundled model: no sub-folder is in diffusers layout");
        }
        Ok(Self { root: root.to_owned(), registered: Arc::new(registered) })
    }

    /// The models folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the model of this name, or why it cannot be used; `None` if there is no such model.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Result<PathBuf, String>> {
        if let Some(found) = self.registered.get(name) {
            return Some(found.clone());
        }
        let folder = self.root.join(name);
        is_model(&folder).then_some(Ok(folder))
    }

    /// Sub-folders that could not be registered, with the reason.
    pub fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        self.registered
            .iter()
            .filter_map(|(name, found)| Some((name.as_str(), found.as_ref().err()?.as_str())))
    }
}

/// A problem of a model, which clients see, with its files named from the models folder.
fn without_root(problem: &str, root: &Path) -> String {
    let roots = [root.canonicalize().ok(), Some(root.to_owned())];
    roots
        .iter()
        .flatten()
        .fold(problem.to_owned(), |text, root| text.replace(&format!("{}/", root.display()), ""))
}

/// Whether a folder holds an adapter and no network of its own.
#[must_use]
pub fn is_adapter(folder: &Path) -> bool {
    folder.join(WEIGHTS_FILE).is_file() && !folder.join("unet").exists()
}

fn is_model(folder: &Path) -> bool {
    Origin::is_model(folder) || folder.join(WEIGHTS_FILE).is_file()
}

/// Sub-folders that are models, with their names; whole models come first, because others name them as their base.
fn model_folders(root: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut folders: Vec<(String, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter(|folder| Origin::is_model(folder) || is_adapter(folder))
        .filter_map(|folder| Some((folder.file_name()?.to_str()?.to_owned(), folder)))
        // An unfinished import.
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    folders.sort_by_key(|(name, folder)| (!folder.join(MODEL_INDEX).is_file(), name.clone()));
    folders
}

/// Inserts a row for a folder of the models folder unless it has one; returns the folder's canonical path.
pub(crate) async fn register_model(store: &Store, name: &str, folder: &Path) -> Result<PathBuf> {
    ensure!(is_name(name), "the folder's name is not a model name: use letters, digits, '-', '_' and '.'");
    let folder = folder.canonicalize().with_context(|| format!("reading {}", folder.display()))?;
    let origin = Origin::read(&folder)?.unwrap_or_default();
    let base = match &origin.base {
        Some(base) => Some(store.get_model_by_name(base).await?.with_context(|| {
            format!("its base {base:?} is not a model here: import it, or put its folder beside this one")
        })?),
        None => None,
    };
    let (description, sha256) = {
        let (folder, base) = (folder.clone(), Origin::base_of(&folder)?);
        tokio::task::spawn_blocking(move || inspect(&folder, base.as_deref(), &origin)).await??
    };
    if let Some(row) = store.get_model_by_name(name).await? {
        ensure!(
            row.sha256 == sha256,
            "its weights differ from those of the model {name:?} in the database (SHA-256 {} there, {} here), whose \
             images and votes would be attributed to it: rename the folder to keep both",
            &row.sha256[..12.min(row.sha256.len())],
            &sha256[..12]
        );
        return Ok(folder);
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
        // Another server on the same database inserted it first.
        Ok(()) | Err(store::StoreError::Conflict(store::Conflict::ModelName)) => Ok(folder),
        Err(error) => Err(error.into()),
    }
}

/// A description and the SHA-256 of the weights. Reads the configs, so that a damaged one is found here; the weights
/// are hashed and not loaded.
pub(crate) fn inspect(folder: &Path, base: Option<&Path>, origin: &Origin) -> Result<(String, String)> {
    if !is_adapter(folder) {
        PartFolders::new(folder, base).defaults()?;
    }
    let sha256 = weights_sha256(&PartFolders::new(folder, None))?;
    let mut description = description(folder);
    if description.is_empty() && !origin.source.is_empty() {
        description = format!("Imported from {}.", origin.source);
    }
    Ok((description, sha256))
}

/// SHA-256 of the weights that identify a model: the adapter's file if it is one, otherwise the UNet's file or
/// shards.
///
/// # Errors
/// Fails if the model has no UNet or a file cannot be read.
pub fn weights_sha256(folders: &PartFolders) -> Result<String> {
    let weights = if is_adapter(folders.own()) {
        vec![folders.own().join(WEIGHTS_FILE)]
    } else {
        Unet::files(&folders.part("unet")?)?.1.files().to_vec()
    };
    Ok(sha256::of_files(weights.iter().map(PathBuf::as_path))?)
}

/// Whether a folder is a model with these weights.
pub(crate) fn has_weights(folder: &Path, sha256: &str) -> bool {
    weights_sha256(&PartFolders::new(folder, None)).is_ok_and(|found| found == sha256)
}

/// The first paragraph of the model card; empty without a card.
fn description(folder: &Path) -> String {
    let card = std::fs::read_to_string(folder.join("README.md")).unwrap_or_default();
    let card = card.trim_start_matches('\u{feff}');
    // Hugging Face cards begin with YAML metadata between two lines of dashes.
    let text =
        card.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).map_or(card, |(_, text)| text);
    text.split("\n\n")
        .map(str::trim)
        .find(|paragraph| !paragraph.is_empty() && !paragraph.starts_with(['#', '!', '|', '`', '<', '-']))
        .map(|paragraph| paragraph.replace('\n', " ").chars().take(300).collect())
        .unwrap_or_default()
}
