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

/// What precedes the name of a folder of the models folder in the row of a model. The folder itself has another path on
/// another machine, or once it was moved.
const IN_MODELS_FOLDER: &str = "models:";

/// The name of the folder in the models folder that a row names; `None` if the row's folder is elsewhere.
pub(crate) fn name_in_models_folder(folder: &str) -> Option<&str> {
    folder.strip_prefix(IN_MODELS_FOLDER).filter(|name| is_name(name))
}

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
        for (name, problem) in unused(root) {
            tracing::warn!(name, "{problem}");
            registered.insert(name, Err(problem));
        }
        if !registered.values().any(Result::is_ok) {
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

    /// Why what has this name in the models folder is no model that can be used; `None` if there is nothing of this name.
    #[must_use]
    pub fn problem(&self, name: &str) -> Option<String> {
        match self.registered.get(name) {
            Some(found) => found.as_ref().err().cloned(),
            // What was added since the server started.
            None => unused(&self.root)
                .into_iter()
                .find(|(found, _)| {
                    found == name || Path::new(found).file_stem().is_some_and(|stem| stem == name)
                })
                .map(|(_, problem)| problem),
        }
    }

    /// Sub-folders and files that could not be registered, with the reason.
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

/// Endings of files of weights.
const WEIGHTS: [&str; 5] = ["safetensors", "ckpt", "bin", "pt", "pth"];

fn is_weights(file: &Path) -> bool {
    let ending = file.extension().unwrap_or_default().to_ascii_lowercase();
    WEIGHTS.iter().any(|known| ending == *known) && file.is_file()
}

/// Files of weights in the models folder, and sub-folders with some, that are no models, by name and with the remedy.
fn unused(root: &Path) -> Vec<(String, String)> {
    let entries = |folder: &Path| {
        let paths = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut paths: Vec<PathBuf> = paths.filter(|path| !is_hidden(path)).collect();
        paths.sort();
        paths
    };
    let mut unused = Vec::new();
    for path in entries(root) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A folder with a config is a single network, such as the CLIP of a spec.
        let is_used = |folder: &Path| {
            is_model(folder)
                || ["config.json", "open_clip_config.json"].iter().any(|name| folder.join(name).is_file())
        };
        let inside = match path.is_dir() {
            true if is_used(&path) => vec![],
            true => entries(&path),
            false => vec![path.clone()],
        };
        if let Some(file) = inside.into_iter().find(|file| is_weights(file)) {
            let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let problem = format!(
                "{shown:?} in the models folder is not used: import it under a name of its own, with \
                 `diff-contrast-trainer import {shown:?} --name NAME`"
            );
            unused.push((name, problem));
        }
    }
    unused
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
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
        // Rows of earlier versions hold the path that the folder had on one machine.
        if row.run_id.is_none() && Path::new(&row.folder).is_absolute() {
            store.move_model(row.id, &format!("{IN_MODELS_FOLDER}{name}")).await?;
        }
        return Ok(folder);
    }
    let now = ambient::now();
    let model = Model {
        id: ModelId::new(now, ambient::entropy()),
        name: name.to_owned(),
        folder: format!("{IN_MODELS_FOLDER}{name}"),
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
    match &weights[..] {
        [only] => Ok(sha256::of_unchanged_file(only)?),
        shards => Ok(sha256::of_files(shards.iter().map(PathBuf::as_path))?),
    }
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
