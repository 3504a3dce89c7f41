//! Models with their images and scores, and the files behind them.

use crate::error::ApiError;
use crate::extract::{Id, Query};
use crate::generator::{AppliedAdapter, unreadable};
use crate::routes::list_limit::{Limit, limit};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use catalogue::models::{ModelError, ModelFiles};
use catalogue::models_folder::is_adapter;
use catalogue::world::belongs_to_bundled_world;
use diffusion::fingerprint::Fingerprint;
use diffusion::lora::WEIGHTS_FILE;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::Defaults;
use domain::api::{ErrorBody, ModelScore, ModelSummary, Page, path};
use domain::id::{ImageId, ModelId};
use domain::lora::LoraUse;
use domain::model::Model;
use std::collections::HashMap;
use uuid::Uuid;

/// Images returned per model.
const SAMPLES: u32 = 8;

/// List models
///
/// Folders of the models folder that cannot be used are listed last, with the reason in `problem`.
#[utoipa::path(get, path = path::MODELS, tag = "training", operation_id = "list_models", params(Limit), responses(
    (status = 200, description = "Models, newest first.", body = Page<ModelSummary>),
    (status = 422, description = "`limit` is out of range.", body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<Limit>,
) -> Result<Json<Page<ModelSummary>>, ApiError> {
    let limit = limit(query.limit)?;
    // Each of these is one query, whatever the number of models.
    let all = state.store.list_models(u32::MAX).await?;
    let mut scores = state.store.all_model_scores().await?;
    let listed: Vec<Model> = all.iter().take(limit as usize).cloned().collect();
    let mut samples = match (listed.last(), listed.first()) {
        (Some(oldest), Some(newest)) => state.store.model_samples(oldest.id, newest.id, SAMPLES).await?,
        _ => HashMap::new(),
    };
    for model in state.store.models_being_judged().await? {
        samples.remove(&model);
    }
    let all: HashMap<ModelId, Model> = all.into_iter().map(|model| (model.id, model)).collect();
    let unusable = unusable_folders(&state, &all);
    let mut items = Vec::with_capacity(listed.len());
    for model in listed {
        let scores = scores.remove(&model.id).unwrap_or_default();
        let samples = samples.remove(&model.id).unwrap_or_default();
        let base = model.base_id.and_then(|id| all.get(&id)).map(|base| base.name.clone());
        let files = state.catalogue.files_among(&model, &all);
        items.push(summary(model, base, scores, samples, files).await);
    }
    items.extend(unusable);
    Ok(Json(Page { items }))
}

/// Get a model
#[utoipa::path(get, path = path::MODEL, tag = "training", operation_id = "get_model",
    params(("id" = Uuid, Path, description = "Id of the model.")), responses(
    (status = 200, description = "The model with images and mean scores.", body = ModelSummary),
    (status = 404, description = "There is no such model.", body = ErrorBody)))]
pub(crate) async fn one(
    State(state): State<AppState>,
    Id(id): Id<ModelId>,
) -> Result<Json<ModelSummary>, ApiError> {
    let model = find(&state, id).await?;
    let scores = state.store.model_scores(id).await?;
    let base = match model.base_id {
        Some(base) => state.store.get_model(base).await?.map(|base| base.name),
        None => None,
    };
    let is_judged = state.store.models_being_judged().await?.contains(&id);
    let samples = if is_judged { HashMap::new() } else { state.store.model_samples(id, id, SAMPLES).await? };
    let samples = samples.get(&id).cloned().unwrap_or_default();
    let files = state.catalogue.files(&model).await;
    Ok(Json(summary(model, base, scores, samples, files).await))
}

/// The bundled model's name.
const BUNDLED: &str = "shapes";

/// The model of requests that name none: the one that the configuration names, or else the bundled model, or else the
/// oldest one.
pub(crate) async fn default_model(state: &AppState) -> Result<Option<Model>, ApiError> {
    if let Some(name) = &state.default_model {
        return Ok(state.store.find_model(name).await?);
    }
    match state.store.get_model_by_name(BUNDLED).await? {
        Some(model) => Ok(Some(model)),
        None => Ok(state.store.list_models(u32::MAX).await?.pop()),
    }
}

async fn summary(
    model: Model,
    base_name: Option<String>,
    scores: Vec<ModelScore>,
    samples: Vec<(ImageId, String)>,
    files: Result<ModelFiles, ModelError>,
) -> ModelSummary {
    let prompt = samples.first().map(|(_, prompt)| prompt.clone());
    let samples = samples.into_iter().map(|(image, _)| image).collect();
    let (problem, bundled_world) = match files.map_err(ApiError::from) {
        Ok(files) => (check(&files).await.err(), belongs_to_bundled_world(&files.folders())),
        Err(error) => (Some(error.message().to_owned()), false),
    };
    ModelSummary { model, base_name, samples, prompt, bundled_world, scores, problem }
}

/// Subfolders of the models folder that could not be registered, listed with the reason.
fn unusable_folders(state: &AppState, known: &HashMap<ModelId, Model>) -> Vec<ModelSummary> {
    let unknown = state
        .catalogue
        .models
        .problems()
        .filter(|(name, _)| !known.values().any(|known| known.name == *name));
    unknown
        .map(|(name, problem)| ModelSummary {
            model: Model {
                id: ModelId(Uuid::nil()),
                name: name.to_owned(),
                folder: String::new(),
                sha256: String::new(),
                base_id: None,
                run_id: None,
                step: None,
                objective: None,
                description: String::new(),
                created_at: domain::Timestamp::UNIX_EPOCH,
            },
            base_name: None,
            samples: Vec::new(),
            prompt: None,
            bundled_world: false,
            scores: Vec::new(),
            problem: Some(problem.to_owned()),
        })
        .collect()
}

/// The adapters of a request: as the generator applies them, and as the response names them, with the SHA-256 of their
/// weights and settings.
pub(crate) async fn adapters(
    state: &AppState,
    requested: &[LoraUse],
) -> Result<(Vec<AppliedAdapter>, Vec<LoraUse>), ApiError> {
    let (mut applied, mut named) = (Vec::new(), Vec::new());
    for (i, LoraUse { model: name, scale, sha256 }) in requested.iter().enumerate() {
        let error = |field: &str, problem: String| ApiError::field(&format!("lora[{i}].{field}"), problem);
        let model = state.store.find_model(name).await?;
        let model = model.ok_or_else(|| error("model", unknown(state, name)))?;
        let file = state.catalogue.folder(&model)?.join(WEIGHTS_FILE);
        if !file.is_file() {
            let problem = format!("{:?} is not a LoRA adapter; name it in `model`", model.name);
            return Err(error("model", problem));
        }
        let read = file.clone();
        let fingerprint = blocking(move || Fingerprint::of_adapter(&read)).await?.map_err(|problem| {
            let problem = problem.to_string().replace(&file.display().to_string(), &model.name);
            error("model", format!("adapter {:?} cannot be read: {problem}", model.name))
        })?;
        let own = fingerprint.sha256();
        // Answers of earlier versions name the weights alone.
        let is_own = |sha256: &String| *sha256 == own || Some(sha256) == fingerprint.parts().get("weights");
        if !sha256.as_ref().is_none_or(is_own) {
            let problem = format!("the weights and settings of {:?} have the SHA-256 {own}", model.name);
            return Err(error("sha256", problem));
        }
        named.push(LoraUse { model: model.name.clone(), scale: *scale, sha256: Some(own) });
        applied.push(AppliedAdapter { fingerprint, name: model.name, file, scale: *scale });
    }
    Ok((applied, named))
}

/// The message for a name that no model has, with what else of this name is in the models folder.
pub(crate) fn unknown(state: &AppState, name: &str) -> String {
    let shown: String = name.chars().take(100).collect();
    match state.catalogue.models.problem(name) {
        Some(problem) => format!("no model {shown:?} can be used: {problem}"),
        None => format!("there is no model named {shown:?}; {} lists all models", path::MODELS),
    }
}

/// What decides the images of a model, by its files as they are now. Large files that have not changed are not read again.
///
/// # Errors
/// Fails with a message for the client if a file cannot be read.
pub(crate) async fn fingerprint(files: &ModelFiles) -> Result<Fingerprint, ApiError> {
    let folders = files.folders();
    let read = blocking(move || Fingerprint::of(&folders)).await?;
    read.map_err(|problem| ApiError::unavailable(unreadable(files, &problem.to_string())))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Unknown(name) => Self::field(
                "model",
                format!("there is no model named {name:?}; {} lists all models", path::MODELS),
            ),
            ModelError::Unusable { name, problem } => {
                Self::unavailable(format!("Model {name:?} cannot be used: {problem}."))
            }
            ModelError::Store(error) => error.into(),
            ModelError::Artifact(error) => error.into(),
        }
    }
}

/// A problem with the parts of a model, without paths of this machine.
pub(crate) fn without_paths(problem: &str, name: &str, folders: &PartFolders) -> String {
    let mut problem = problem.to_owned();
    for (i, folder) in folders.all().enumerate() {
        problem =
            problem.replace(&folder.display().to_string(), if i == 0 { name } else { "its base model" });
    }
    problem
}

/// Checks that the configs of a model can be read and that its weights exist. Returns its defaults and the number that
/// width and height must be multiples of, or a message for the client.
pub(crate) async fn check(files: &ModelFiles) -> Result<(Defaults, u32), String> {
    if files.bases.is_empty() && is_adapter(&files.folder) {
        return Err(format!(
            "Model {:?} is a LoRA adapter. Name a complete model in `model`, and the adapter in `lora`.",
            files.name
        ));
    }
    let checked = files.clone();
    if let Err(problem) = files.folders().check_fit() {
        let name = &files.name;
        return Err(format!(
            "Model {name:?} draws no images: {}.",
            without_paths(&problem.to_string(), name, &files.folders())
        ));
    }
    let check = move || {
        let folders = checked.folders();
        diffusion::unet::Unet::files(&folders.part("unet")?)?;
        folders.defaults()
    };
    match tokio::task::spawn_blocking(check).await {
        Ok(outcome) => outcome.map_err(|error| unreadable(files, &error.to_string())),
        Err(error) => Err(error.to_string()),
    }
}

/// Looks up a model.
pub(super) async fn find(state: &AppState, id: ModelId) -> Result<Model, ApiError> {
    state.store.get_model(id).await?.ok_or_else(|| ApiError::not_found("model"))
}
