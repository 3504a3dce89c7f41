//! `controlnet/config.json`, with the meaning that diffusers' `ControlNetModel` gives every field.

use super::defaults::three;
use super::read::read_value;
use super::unet::UnetConfig;
use super::unsupported;
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

/// The class of diffusers' port of Prompt Diffusion, which has a second hint encoder.
const PROMPT_DIFFUSION_CLASS: &str = "PromptDiffusionControlNetModel";

/// `controlnet/config.json`.
#[derive(Clone, Debug)]
pub struct ControlNetConfig {
    /// The UNet whose down blocks and middle block it copies.
    pub unet: UnetConfig,
    /// The hint encoders.
    pub hints: HintsConfig,
}

/// The settings of the hint encoders.
#[derive(Clone, Debug, Deserialize)]
pub struct HintsConfig {
    /// Channels of the hint: 3 for an image, 6 for a pair of images.
    #[serde(default = "three")]
    pub conditioning_channels: usize,
    /// Channels at each resolution, from that of the image to that of the latents.
    #[serde(default = "hint_channels")]
    pub conditioning_embedding_out_channels: Vec<usize>,
    /// The name of diffusers' class.
    #[serde(rename = "_class_name", default)]
    class_name: String,
}

fn hint_channels() -> Vec<usize> {
    vec![16, 32, 96, 256]
}

impl HintsConfig {
    /// Whether there is a second encoder for the query image (Prompt Diffusion).
    #[must_use]
    pub fn has_query(&self) -> bool {
        self.class_name == PROMPT_DIFFUSION_CLASS
    }

    /// Pixels per latent, horizontally and vertically.
    #[must_use]
    pub fn downscale(&self) -> usize {
        1 << (self.conditioning_embedding_out_channels.len() - 1)
    }
}

impl ControlNetConfig {
    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// Fails if the file cannot be read or has an unsupported setting.
    pub fn read(file: &Path) -> Result<Self> {
        Self::of(read_value(file)?, file)
    }

    /// The config of Prompt Diffusion for Stable Diffusion 1.5, whose single-file checkpoint has none.
    ///
    /// # Errors
    /// Never fails in practice: the config is valid.
    pub fn prompt_diffusion() -> Result<Self> {
        let down = ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"];
        let config = json!({
            "_class_name": PROMPT_DIFFUSION_CLASS,
            "conditioning_channels": 6,
            "block_out_channels": [320, 640, 1280, 1280],
            "down_block_types": down,
            "attention_head_dim": 8,
            "cross_attention_dim": 768,
        });
        Self::of(config, Path::new("Prompt Diffusion"))
    }

    /// As [`ControlNetConfig::read`], from the content of `file`.
    fn of(mut config: Value, file: &Path) -> Result<Self> {
        unsupported::check(&config, unsupported::UNET, file)?;
        unsupported::check(&config, unsupported::CONTROLNET, file)?;
        // A ControlNet has no up blocks, but the UNet's config requires some.
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
