//! The `question` and `models` of judging routes.

use crate::error::ApiError;
use crate::routes::models::unknown;
use crate::state::AppState;
use domain::limits::MAX_MODELS;
use domain::model::Model;
use domain::preference::Question;
use serde::Deserialize;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct QuestionQuery {
    /// What raters are asked about the two images.
    #[serde(default)]
    #[param(default = "overall")]
    pub(crate) question: Question,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeskQuery {
    /// What raters are asked about the two images.
    #[serde(default)]
    #[param(default = "overall")]
    pub(crate) question: Question,
    /// Names or ids of models, separated by commas: only matchups of these. One model gives matchups of its own images.
    #[serde(default)]
    pub(crate) models: String,
}

/// The models that a field `models` names, without repetitions.
///
/// # Errors
/// Fails with a message about `models` if there are too many or one does not exist.
pub(crate) async fn named_models<'a>(
    state: &AppState,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Model>, ApiError> {
    let mut models: Vec<Model> = Vec::new();
    for name in names.into_iter().map(str::trim).filter(|name| !name.is_empty()) {
        if models.len() == MAX_MODELS {
            return Err(ApiError::field("models", format!("name at most {MAX_MODELS} models")));
        }
        let model = state
            .store
            .find_model(name)
            .await?
            .ok_or_else(|| ApiError::field("models", unknown(state, name)))?;
        if models.iter().all(|known| known.id != model.id) {
            models.push(model);
        }
    }
    Ok(models)
}
