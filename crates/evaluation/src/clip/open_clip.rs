//! CLIP models in OpenCLIP's layout: `open_clip_config.json` beside weights under OpenCLIP's names.

use super::naming::to_transformers;
use super::normalisation::Normalisation;
use super::towers::Towers;
use crate::preprocess::{CLIP_DEVIATION, CLIP_MEAN};
use crate::weights::Weights;
use candle_core::Device;
use diffusion::config::{self, ClipConfig};
use diffusion::weights::Parameters;
use diffusion::{Error, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use std::path::Path;

/// `open_clip_config.json`.
#[derive(Deserialize)]
struct Config {
    model_cfg: Model,
    #[serde(default)]
    preprocess_cfg: Preprocess,
}

#[derive(Deserialize)]
struct Model {
    embed_dim: usize,
    #[serde(default)]
    quick_gelu: bool,
    vision_cfg: Vision,
    text_cfg: Text,
}

#[derive(Deserialize)]
struct Vision {
    image_size: usize,
    #[serde(default)]
    layers: Option<usize>,
    #[serde(default)]
    width: Option<usize>,
    #[serde(default = "head_width")]
    head_width: usize,
    #[serde(default = "mlp_ratio")]
    mlp_ratio: f64,
    #[serde(default)]
    patch_size: Option<usize>,
    #[serde(default)]
    timm_model_name: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Text {
    #[serde(default = "context_length")]
    context_length: usize,
    #[serde(default)]
    vocab_size: Option<usize>,
    #[serde(default)]
    width: Option<usize>,
    #[serde(default)]
    heads: Option<usize>,
    #[serde(default)]
    layers: Option<usize>,
    #[serde(default = "mlp_ratio")]
    mlp_ratio: f64,
    #[serde(default)]
    hf_model_name: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Preprocess {
    #[serde(default)]
    mean: Option<[f32; 3]>,
    #[serde(default)]
    std: Option<[f32; 3]>,
    #[serde(default)]
    interpolation: Option<String>,
    #[serde(default)]
    resize_mode: Option<String>,
}

/// Defaults of OpenCLIP's `CLIPVisionCfg` and `CLIPTextCfg`.
fn head_width() -> usize {
    64
}
fn mlp_ratio() -> f64 {
    4.0
}
fn context_length() -> usize {
    77
}

/// Reads the towers and the normalisation of pixels.
///
/// # Errors
/// Fails if a file is damaged, if the model is not a pair of CLIP's transformers, or if a tensor is missing, unknown or has
/// another shape; names the tensor as the file does.
pub(super) fn open(config: &Path, weights: &Path, device: &Device) -> Result<(Towers, Normalisation)> {
    let read: Config = config::read(config)?;
    let bad = |problem: String| Error::Format { file: config.to_owned(), problem };
    let clip = clip_config(&read.model_cfg).map_err(&bad)?;
    let Preprocess { mean, std, interpolation, resize_mode } = read.preprocess_cfg;
    for (field, value, supported) in
        [("interpolation", interpolation, "bicubic"), ("resize_mode", resize_mode, "shortest")]
    {
        if let Some(value) = value.filter(|value| value != supported) {
            return Err(bad(format!(
                "preprocess_cfg.{field}: {value:?} is not supported, only {supported:?}"
            )));
        }
    }
    let normalisation =
        Normalisation { mean: mean.unwrap_or(CLIP_MEAN), deviation: std.unwrap_or(CLIP_DEVIATION) };
    let (weights, naming) = to_transformers(Weights::read(weights)?)?;
    let origin = weights.file.display().to_string();
    let parameters = Parameters::of_tensors(weights.tensors, device).with_origin(origin);
    let towers = Towers::new(&parameters.root(), clip).and_then(|towers| {
        parameters.finish()?;
        Ok(towers)
    });
    Ok((towers.map_err(|error| naming.explain(error))?, normalisation))
}

/// The config in transformers' terms.
fn clip_config(model: &Model) -> std::result::Result<ClipConfig, String> {
    let Model { embed_dim, quick_gelu, vision_cfg: vision, text_cfg: text } = model;
    if vision.timm_model_name.is_some() || text.hf_model_name.is_some() {
        return Err("model_cfg: a tower of timm or Hugging Face is not supported, only CLIP's own".to_owned());
    }
    let needed = |field: &str, value: Option<usize>| {
        value.filter(|value| *value > 0).ok_or_else(|| format!("model_cfg.{field}: is missing"))
    };
    let [image, text_width] =
        [needed("vision_cfg.width", vision.width)?, needed("text_cfg.width", text.width)?];
    let image_heads = image / vision.head_width.max(1);
    let text_heads = needed("text_cfg.heads", text.heads)?;
    if image_heads == 0 || image % image_heads != 0 || text_width % text_heads != 0 {
        return Err("model_cfg: a width is not a multiple of its number of heads".to_owned());
    }
    let middle = |width: usize, ratio: f64| (width as f64 * ratio) as usize;
    let activation = if *quick_gelu { "quick_gelu" } else { "gelu" };
    // Built as JSON, so that the other fields get their defaults.
    let config = json!({
        "projection_dim": embed_dim,
        "text_config": {
            "vocab_size": needed("text_cfg.vocab_size", text.vocab_size)?, "hidden_size": text_width,
            "intermediate_size": middle(text_width, text.mlp_ratio),
            "num_hidden_layers": needed("text_cfg.layers", text.layers)?, "num_attention_heads": text_heads,
            "max_position_embeddings": text.context_length, "hidden_act": activation,
            "projection_dim": embed_dim,
            // 2 pools at the largest id, which is that of the end token in every vocabulary of CLIP.
            "eos_token_id": 2,
        },
        "vision_config": {
            "image_size": vision.image_size, "patch_size": needed("vision_cfg.patch_size", vision.patch_size)?,
            "hidden_size": image, "intermediate_size": middle(image, vision.mlp_ratio),
            "num_hidden_layers": needed("vision_cfg.layers", vision.layers)?,
            "num_attention_heads": image_heads, "hidden_act": activation, "projection_dim": embed_dim,
        },
    });
    serde_json::from_value(config).map_err(|error| format!("model_cfg: {error}"))
}
