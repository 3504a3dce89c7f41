//! Models with their images and scores, and the files behind them.

use crate::error::ApiError;
use crate::extract::{Id, Query};
use crate::generator::Worn;
use crate::generator::unreadable;
use crate::routes::{Limit, limit};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use catalogue::models::{ModelError, ModelFiles};
use catalogue::models_folder::is_adapter;
use diffusion::lora::WEIGHTS_FILE;
use diffusion::pipeline::Defaults;
use domain::api::{ErrorBody, ModelScore, ModelSummary, Page, path};
use domain::id::ModelId;
use domain::limits::MAX_LIST_LENGTH;
use domain::lora::LoraUse;
use domain::model::Model;
use std::collections::HashMap;
use store::ImageFilter;
use uuid::Uuid;

/// Images shown per model.
const SHOWN: u32 = 8;

/// Models, newest first
#[utoipa::path(get, path = path::MODELS, tag = "training", params(Limit), responses(
    (status = 200, body = Page<ModelSummary>)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(Limit { limit: asked }): Query<Limit>,
) -> Result<Json<Page<ModelSummary>>, ApiError> {
    let models = state.store.list_models(limit(asked)?).await?;
    let names: HashMap<ModelId, String> = state
        .store
        .list_models(MAX_LIST_LENGTH)
        .await?
        .into_iter()
        .map(|model| (model.id, model.name))
        .collect();
    let mut scores = state.store.all_model_scores().await?;
    let unusable = unusable_folders(&state, &names);
    let mut items = Vec::with_capacity(models.len());
    for model in models {
        let scores = scores.remove(&model.id).unwrap_or_default();
        let base = model.base_id.and_then(|id| names.get(&id).cloned());
        items.push(summary(&state, model, base, scores).await?);
    }
    items.extend(unusable);
    Ok(Json(Page { items }))
}

/// One model
#[utoipa::path(get, path = path::MODEL, tag = "training", params(("id" = Uuid, Path)), responses(
    (status = 200, body = ModelSummary), (status = 404, body = ErrorBody)))]
pub(crate) async fn one(
    State(state): State<AppState>,
    Id(id): Id<ModelId>,
) -> Result<Json<ModelSummary>, ApiError> {
    let model = state.store.get_model(id).await?.ok_or_else(|| ApiError::not_found("model"))?;
    let scores = state.store.model_scores(id).await?;
    let base = match model.base_id {
        Some(base) => state.store.get_model(base).await?.map(|base| base.name),
        None => None,
    };
    Ok(Json(summary(&state, model, base, scores).await?))
}

async fn summary(
    state: &AppState,
    model: Model,
    base_name: Option<String>,
    scores: Vec<ModelScore>,
) -> Result<ModelSummary, ApiError> {
    let mut images = state.store.list_evaluation_images(model.id, SHOWN).await?;
    if images.is_empty() {
        let made = ImageFilter { model_id: Some(model.id), ..ImageFilter::default() };
        images = state.store.list_images(&made, SHOWN).await?;
    }
    let samples = images.into_iter().map(|image| image.id).collect();
    let problem = match state.catalogue.files(&model).await.map_err(ApiError::from) {
        Ok(files) => check(&files).await.err(),
        Err(error) => Some(error.message().to_owned()),
    };
    Ok(ModelSummary { model, base_name, samples, scores, problem })
}

/// Sub-folders of the models folder that could not be registered, listed with the reason.
fn unusable_folders(state: &AppState, known: &HashMap<ModelId, String>) -> Vec<ModelSummary> {
    let unknown =
        state.catalogue.models.problems().filter(|(name, _)| !known.values().any(|known| known == name));
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
            scores: Vec::new(),
            problem: Some(problem.to_owned()),
        })
        .collect()
}

/// The adapters of a request, and the same as the response states them, with the SHA-256 of their weights.
pub(crate) async fn adapters(
    state: &AppState,
    asked: &[LoraUse],
) -> Result<(Vec<Worn>, Vec<LoraUse>), ApiError> {
    let (mut worn, mut told) = (Vec::new(), Vec::new());
    for (i, LoraUse { model: name, scale, sha256 }) in asked.iter().enumerate() {
        let refuse = |field: &str, problem: String| ApiError::field(&format!("lora[{i}].{field}"), problem);
        let model = state.store.find_model(name).await?.ok_or_else(|| {
            let shown: String = name.chars().take(100).collect();
            refuse("model", format!("no model is called {shown:?}: {} lists those there are", path::MODELS))
        })?;
        let file = state.catalogue.folder(&model)?.join(WEIGHTS_FILE);
        if !file.is_file() {
            let problem = format!("{:?} is no LoRA adapter: name it as `model`", model.name);
            return Err(refuse("model", problem));
        }
        if sha256.as_ref().is_some_and(|asked| *asked != model.sha256) {
            return Err(refuse("sha256", format!("{:?} has other weights: {}", model.name, model.sha256)));
        }
        told.push(LoraUse { model: model.name.clone(), scale: *scale, sha256: Some(model.sha256.clone()) });
        worn.push(Worn { sha256: model.sha256, name: model.name, file, scale: *scale });
    }
    Ok((worn, told))
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Unknown(name) => Self::field(
                "model",
                format!("no model is called {name:?}: {} lists those there are", path::MODELS),
            ),
            ModelError::Unusable { name, problem } => {
                Self::unavailable(format!("Model {name:?} cannot be used: {problem}."))
            }
            ModelError::Store(error) => error.into(),
            ModelError::Artifact(error) => error.into(),
        }
    }
}

/// Checks that a model's configs can be read and its weights exist: the defaults and the multiple of its sides, or what is
/// wrong in a sentence for people.
pub(crate) async fn check(files: &ModelFiles) -> Result<(Defaults, u32), String> {
    if files.bases.is_empty() && is_adapter(&files.folder) {
        return Err(format!(
            "Model {:?} is a LoRA adapter alone: name a whole model in `model`, and it in `lora`.",
            files.name
        ));
    }
    let looked_at = files.clone();
    let look = move || {
        let folders = looked_at.folders();
        diffusion::unet::Unet::files(&folders.part("unet")?)?;
        folders.defaults()
    };
    match tokio::task::spawn_blocking(look).await {
        Ok(outcome) => outcome.map_err(|error| unreadable(files, &error.to_string())),
        Err(error) => Err(error.to_string()),
    }
}
