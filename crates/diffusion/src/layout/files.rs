//! The names of the files and parts in a model's folder, and the content of its index.

use crate::weights::Stem;
use serde_json::{Value, json};

/// The index file, which identifies a folder as a model.
pub const MODEL_INDEX: &str = "model_index.json";
/// The file with the noise schedule.
pub const SCHEDULE: &str = "scheduler/scheduler_config.json";
/// The folder of the CLIP that weighs pairs and scores images. Published Stable Diffusion models do not have it.
pub const CLIP: &str = "clip";

/// The networks of a model by folder, with the names of their weights files.
pub const PARTS: [(&str, Stem); 4] = [
    ("text_encoder", Stem::TRANSFORMER),
    ("text_encoder_2", Stem::TRANSFORMER),
    ("unet", Stem::NETWORK),
    ("vae", Stem::NETWORK),
];

/// The content of `model_index.json` for a pipeline class and a sampler class of diffusers, without a safety checker.
/// `version`: diffusers' version.
#[must_use]
pub fn model_index(class: &str, sampler: &str, version: &str) -> Value {
    let mut index = json!({
        "_class_name": class,
        "_diffusers_version": version,
        "scheduler": ["diffusers", sampler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "feature_extractor": [null, null],
    });
    if class.contains("XL") {
        index["force_zeros_for_empty_prompt"] = json!(true);
        index["image_encoder"] = json!([null, null]);
        index["text_encoder_2"] = json!(["transformers", "CLIPTextModelWithProjection"]);
        index["tokenizer_2"] = json!(["transformers", "CLIPTokenizer"]);
    } else {
        index["requires_safety_checker"] = json!(false);
        index["safety_checker"] = json!([null, null]);
    }
    index
}
