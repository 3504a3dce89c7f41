//! Checkpoints that can generate.

use crate::Timestamp;
use crate::id::{ModelId, RunId};
use serde::{Deserialize, Serialize};

/// A checkpoint. Its other parts (text tower, autoencoder, tokenizer) are those of `base`, if it has one.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its id.
    pub id: ModelId,
    /// A unique name.
    pub name: String,
    /// Where its folder (diffusers layout, at least `unet/` or a LoRA adapter) lies: an absolute path or one inside the artifact store.
    pub folder: String,
    /// SHA-256 of the UNet's weights file or of the adapter, in hex.
    pub sha256: String,
    /// The model it was trained from, whose other parts it uses.
    pub base_id: Option<ModelId>,
    /// The run that made it.
    pub run_id: Option<RunId>,
    /// The step of the run.
    pub step: Option<i64>,
    /// The objective that made it (`diff_contrast`, ...), if a run did.
    pub objective: Option<String>,
    /// A sentence for people.
    pub description: String,
    /// When it came to be.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}
