//! Images from prompts.

use crate::id::ImageId;
use crate::image::{GenerationParams, Sampler};
use crate::lora::LoraUse;
use serde::{Deserialize, Serialize};

/// Body (POST) or query (GET) of /generate. Absent settings take the model's defaults.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
    "prompt": "a large red circle on a blue background", "model": "shapes", "seed": 1, "steps": 20,
    "guidance_scale": 4.0, "sampler": "ddim"
})))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateRequest {
    /// What the image shall show; at most 8192 bytes.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 8192))]
    pub prompt: String,
    /// What the image shall not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// Name or id of the model; the server's default model when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Seed of the starting noise, 0 to 2^53 - 1; random when absent. The same request with the same seed gives the
    /// same bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(maximum = 9007199254740991i64))]
    pub seed: Option<u64>,
    /// Denoising steps, 1 to 1000. More steps take longer, and change little beyond 20 to 50 with most samplers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1000))]
    pub steps: Option<u32>,
    /// Weight of the prompt, 0 to 50; 1 is no guidance. Higher follows the prompt more closely, with less variety.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 50))]
    pub guidance_scale: Option<f64>,
    /// Width in pixels: a multiple of the autoencoder's downscaling factor (8 for Stable Diffusion), up to the
    /// server's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub width: Option<u32>,
    /// Height in pixels: as for `width`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub height: Option<u32>,
    /// The sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<Sampler>,
    /// LoRA adapters to fuse into the model, at most 8: a list, or in a query `NAME:SCALE`, separated by commas.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::lora::list_or_text")]
    #[cfg_attr(feature = "openapi", schema(max_items = 8))]
    pub lora: Vec<LoraUse>,
    /// Number of images, 1 to 4; 1 when absent. Image i uses seed + i. More than 1 needs `Accept: application/json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 4))]
    pub num_images: Option<u32>,
}

/// Response of /generate to `Accept: application/json`.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerateResponse {
    /// The images.
    pub images: Vec<GeneratedImage>,
    /// Seeds of images that the server's safety checker withheld.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flagged: Vec<u64>,
    /// Name of the model.
    pub model: String,
    /// SHA-256 of the model's weights, in hex.
    pub model_sha256: String,
    /// The parameters of the images; `seed` is the first image's.
    pub params: GenerationParams,
    /// Seconds from the start of denoising to the end of PNG encoding.
    pub seconds: f64,
}

/// A generated image.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneratedImage {
    /// Id of its record.
    pub id: ImageId,
    /// The PNG, in base64.
    pub b64: String,
    /// Seed of its starting noise.
    pub seed: u64,
}
