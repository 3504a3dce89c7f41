//! Models: checkpoints that can generate images.

use crate::Timestamp;
use crate::id::{ModelId, RunId};
use serde::{Deserialize, Serialize};

/// A checkpoint that can generate images. Networks that its folder lacks (text encoders, autoencoder, tokenizer) are
/// those of its base.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Id of the model.
    pub id: ModelId,
    /// Its unique name.
    pub name: String,
    /// Its folder in diffusers layout, with at least `unet/` or a LoRA adapter: `models:NAME` in the models folder, wherever
    /// a program has that, or a path in the artifact store. Rows of earlier versions have an absolute path until a server
    /// starts with the folder.
    pub folder: String,
    /// SHA-256 of the UNet's weights file or of the adapter, in hex.
    pub sha256: String,
    /// The model that it was trained from and whose other networks it uses.
    pub base_id: Option<ModelId>,
    /// The run that made it.
    pub run_id: Option<RunId>,
    /// The step of the run.
    pub step: Option<i64>,
    /// The objective of the run: `diff_contrast`, `sft`, ...
    pub objective: Option<String>,
    /// A sentence for people.
    pub description: String,
    /// When it was made or imported.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}
