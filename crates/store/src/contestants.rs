//! Contestants: models, and models with adapters.

use crate::db::{Store, parsed, with_db};
use crate::error::StoreError;
use domain::contestant::{Contestant, effective_adapters, unique_name};
use domain::id::{ContestantId, ModelId};
use domain::image::GenerationParams;
use domain::lora::LoraUse;
use domain::problem::Problems;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Adapters as JSON; null for none.
pub(crate) fn lora_text(lora: &[LoraUse]) -> Result<Option<String>, StoreError> {
    let list = || serde_json::to_string(lora).map_err(|e| Problems::one("lora", e.to_string()));
    Ok((!lora.is_empty()).then(list).transpose()?)
}

/// The column `lora` of an image's contestant: the adapters that change the image; null if none does.
pub(crate) fn contestant_lora(params: &GenerationParams) -> Result<Option<String>, StoreError> {
    lora_text(&effective_adapters(&params.lora))
}

/// The names of all contestants with adapters.
pub(crate) struct ContestantNames(HashMap<Uuid, String>);

impl ContestantNames {
    /// The name of a contestant whose model has this name; without an id it is the model itself.
    pub(crate) fn of(&self, model: String, contestant: Option<Uuid>) -> String {
        contestant.and_then(|id| self.0.get(&id).cloned()).unwrap_or(model)
    }
}

impl Store {
    /// Lists every contestant: all models, newest first, then models with adapters that images were drawn with, in order of
    /// their first image. All names differ.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn list_contestants(&self) -> Result<Vec<Contestant>, StoreError> {
        let models = self.list_models(u32::MAX).await?;
        let mut all: Vec<Contestant> = models
            .into_iter()
            .map(|model| Contestant {
                id: model.id.into(),
                name: model.name,
                model_id: model.id,
                objective: model.objective,
                lora: Vec::new(),
            })
            .collect();
        all.extend(self.contestants_with_adapters().await?);
        Ok(all)
    }

    pub(crate) async fn contestant_names(&self) -> Result<ContestantNames, StoreError> {
        let contestants = self.contestants_with_adapters().await?;
        Ok(ContestantNames(contestants.into_iter().map(|known| (known.id.0, known.name)).collect()))
    }

    async fn contestants_with_adapters(&self) -> Result<Vec<Contestant>, StoreError> {
        let rows: Vec<(Uuid, Uuid, String, String)> = with_db!(self, pool => sqlx::query_as(
            "SELECT c.id, m.id, m.name, c.lora FROM contestants c JOIN models m ON m.id = c.model_id ORDER BY c.id")
            .fetch_all(pool)
            .await?);
        let mut taken = HashSet::new();
        rows.into_iter()
            .map(|(id, model, name, lora)| {
                let lora: Vec<LoraUse> = parsed(serde_json::from_str(&lora), "contestants", "lora", id)?;
                Ok(Contestant {
                    id: ContestantId(id),
                    name: unique_name(&name, &lora, &mut taken),
                    model_id: ModelId(model),
                    objective: None,
                    lora,
                })
            })
            .collect()
    }
}
