//! Images from prompts.

use crate::id::ImageId;
use crate::image::{GenerationParams, Sampler};
use crate::lora::LoraUse;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

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
    /// Seed of the starting noise, 0 to 2^53 - 1; random when absent or -1. The response has the seed that was drawn. The
    /// same request with the same seed gives the same bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "seed")]
    #[cfg_attr(feature = "openapi", schema(minimum = -1, maximum = 9_007_199_254_740_991_i64))]
    pub seed: Option<i64>,
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
    /// Name of the request that the client chooses, 8 to 64 letters, digits and hyphens, such as a UUID: to ask for its progress
    /// at `/api/v1/generations/{ticket}`, and to cancel it. Unique among the requests that wait or run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(min_length = 8, max_length = 64, pattern = "^[A-Za-z0-9-]{8,64}$")
    )]
    pub ticket: Option<String>,
}

/// Where a generation request is.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationProgress {
    /// Requests that came before it and are not answered; 0 once it runs.
    pub ahead: u32,
    /// Whether its batch runs.
    pub running: bool,
    /// Denoising steps that its batch has done.
    pub step: u32,
    /// Denoising steps of its batch; 0 while it waits.
    pub steps: u32,
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
    /// Fingerprint of the model with the adapters of `params`, in hex: it differs if anything differs that decides an image
    /// besides `params`, such as weights, configs, tokenizer, or an adapter's settings or scale.
    pub model_sha256: String,
    /// The parameters of the images; `seed` is the first image's.
    pub params: GenerationParams,
    /// Texts whose end the text encoder did not read, because they have more tokens than it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<CutText>,
    /// Seconds from the start of denoising to the end of PNG encoding.
    pub seconds: f64,
}

/// A text whose end the text encoder did not read.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutText {
    /// The field of the request: `prompt` or `negative_prompt`.
    pub field: String,
    /// Number of tokens that were left out.
    pub tokens: u64,
    /// Their text.
    pub text: String,
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

/// A seed, or -1. Numbers beyond the range of the type become its largest value, so that validation refuses them with the
/// valid range.
fn seed<'de, D: Deserializer<'de>>(input: D) -> Result<Option<i64>, D::Error> {
    struct Seed(i64);
    struct WholeNumber;
    impl Visitor<'_> for WholeNumber {
        type Value = Seed;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Seed, E> {
            Ok(Seed(number))
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Seed, E> {
            Ok(Seed(i64::try_from(number).unwrap_or(i64::MAX)))
        }
    }
    impl<'de> Deserialize<'de> for Seed {
        fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
            input.deserialize_i64(WholeNumber)
        }
    }
    Ok(Option::<Seed>::deserialize(input)?.map(|Seed(number)| number))
}
