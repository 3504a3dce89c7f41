//! `controlnet/config.json`, with the meaning that diffusers' `ControlNetModel` gives every field.

use super::{UnetConfig, neutral, three};
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

/// The class of diffusers' port of Prompt Diffusion, which has a second encoder of hints.
const TWO_HINTS: &str = "PromptDiffusionControlNetModel";

/// `controlnet/config.json`.
#[derive(Clone, Debug)]
pub struct ControlNetConfig {
    /// The UNet whose way down and middle it repeats.
    pub unet: UnetConfig,
    /// Its encoders of hints.
    pub hints: HintsConfig,
}

/// How hints become states.
#[derive(Clone, Debug, Deserialize)]
pub struct HintsConfig {
    /// Channels of the hint: 3 for an image, 6 for a pair of them.
    #[serde(default = "three")]
    pub conditioning_channels: usize,
    /// Channels at each size, from the image's to the latents'.
    #[serde(default = "hint_channels")]
    pub conditioning_embedding_out_channels: Vec<usize>,
    /// diffusers' class.
    #[serde(rename = "_class_name", default)]
    class_name: String,
}

fn hint_channels() -> Vec<usize> {
    vec![16, 32, 96, 256]
}

impl HintsConfig {
    /// Whether there is a second encoder, of an image that the pair is to be continued with.
    #[must_use]
    pub fn has_query(&self) -> bool {
        self.class_name == TWO_HINTS
    }

    /// Pixels per latent.
    #[must_use]
    pub fn downscale(&self) -> usize {
        1 << (self.conditioning_embedding_out_channels.len() - 1)
    }
}

impl ControlNetConfig {
    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// It cannot be read, or the first setting that this network cannot obey.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|e| Error::file(file, e))?;
        Self::of(serde_json::from_str(&text).map_err(|e| Error::format(file, e))?, file)
    }

    /// Of Prompt Diffusion over Stable Diffusion 1.5, whose checkpoint in one file has no config.
    ///
    /// # Errors
    /// None in practice: the config is sound.
    pub fn prompt_diffusion() -> Result<Self> {
        let down = ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"];
        let config = json!({
            "_class_name": TWO_HINTS,
            "conditioning_channels": 6,
            "block_out_channels": [320, 640, 1280, 1280],
            "down_block_types": down,
            "attention_head_dim": 8,
            "cross_attention_dim": 768,
        });
        Self::of(config, Path::new("Prompt Diffusion"))
    }

    /// As [`ControlNetConfig::read`], of what `file` holds.
    fn of(mut config: Value, file: &Path) -> Result<Self> {
        neutral::check(&config, neutral::UNET, file)?;
        neutral::check(&config, neutral::CONTROLNET, file)?;
        // It has no way up; the UNet's config wants one, and any will do.
        let blocks = config["block_out_channels"].as_array().map_or(0, Vec::len);
        config["up_block_types"] = json!(vec!["UpBlock2D"; blocks]);
        let hints: HintsConfig =
            serde_path_to_error::deserialize(&config).map_err(|e| Error::format(file, e))?;
        let unet: UnetConfig =
            serde_path_to_error::deserialize(&config).map_err(|e| Error::format(file, e))?;
        unet.check(file)?;
        if hints.conditioning_embedding_out_channels.is_empty() {
            return Err(Error::format(file, "conditioning_embedding_out_channels: is empty"));
        }
        if unet.addition_embed_type.is_some() {
            return Err(Error::format(file, "addition_embed_type: ControlNets of SDXL are not supported"));
        }
        Ok(Self { unet, hints })
    }
}
