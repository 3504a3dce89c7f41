//! The `config.json` files of a folder in diffusers layout, as far as our networks obey them. A setting that
//! would change the network and is not supported is an error that names it, never ignored.

mod controlnet;
mod neutral;
mod schedule;
mod unet;

use crate::nn::Activation;
use crate::{Error, Result};
pub use controlnet::{ControlNetConfig, HintsConfig};
use neutral::Neutral;
pub use schedule::{Prediction, ScheduleConfig, Spacing};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;
pub use unet::{PerBlock, TransformerLayers, UnetConfig};

/// Reads a JSON config.
///
/// # Errors
/// It cannot be read, or a field is missing or no such value.
pub fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    read_neutral(file, &[])
}

/// Reads a JSON config in which some settings must be neutral.
fn read_neutral<T: DeserializeOwned>(file: &Path, settings: &[Neutral]) -> Result<T> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::file(file, e))?;
    // Python writes an infinite number (`lambda_min_clipped` of samplers) as a word that JSON does not have.
    let text = text.replace(": -Infinity", ": null");
    parse(serde_json::from_str(&text).map_err(|e| Error::format(file, e))?, file, settings)
}

/// The config of a JSON value, as if it were `file`'s.
fn parse<T: DeserializeOwned>(config: serde_json::Value, file: &Path, settings: &[Neutral]) -> Result<T> {
    neutral::check(&config, settings, file)?;
    serde_path_to_error::deserialize(config).map_err(|e| Error::format(file, e))
}

/// What messages call a config that is in no file.
const UNWRITTEN: &str = "config.json";

/// `vae/config.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct VaeConfig {
    /// Image channels.
    #[serde(default = "three")]
    pub in_channels: usize,
    /// Image channels.
    #[serde(default = "three")]
    pub out_channels: usize,
    /// Latent channels.
    #[serde(default = "four")]
    pub latent_channels: usize,
    /// Channels per block.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks per block (one more on the way up).
    #[serde(default = "one")]
    pub layers_per_block: usize,
    /// Groups of every group norm.
    #[serde(default = "thirty_two")]
    pub norm_num_groups: usize,
    /// Factor that gives latents unit deviation.
    #[serde(default = "scaling_factor")]
    pub scaling_factor: f64,
    /// Whether the middle attends.
    #[serde(default = "yes")]
    pub mid_block_add_attention: bool,
    /// Whether a 1 x 1 convolution follows the encoder.
    #[serde(default = "yes")]
    pub use_quant_conv: bool,
    /// Whether a 1 x 1 convolution precedes the decoder.
    #[serde(default = "yes")]
    pub use_post_quant_conv: bool,
}

impl VaeConfig {
    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// It cannot be read, or the first setting that this network cannot obey.
    pub fn read(file: &Path) -> Result<Self> {
        let config: Self = read_neutral(file, neutral::VAE)?;
        config.check(file)?;
        Ok(config)
    }

    /// As [`VaeConfig::read`], of what the file would hold.
    ///
    /// # Errors
    /// The first setting that this network cannot obey.
    pub fn of(config: serde_json::Value) -> Result<Self> {
        let file = Path::new(UNWRITTEN);
        let config: Self = parse(config, file, neutral::VAE)?;
        config.check(file)?;
        Ok(config)
    }

    fn check(&self, file: &Path) -> Result<()> {
        for &channels in &self.block_out_channels {
            if self.norm_num_groups == 0 || channels % self.norm_num_groups != 0 {
                return Err(Error::format(
                    file,
                    format!("norm_num_groups: does not divide {channels} channels"),
                ));
            }
        }
        if self.block_out_channels.is_empty() {
            return Err(Error::format(file, "block_out_channels: is empty"));
        }
        Ok(())
    }

    /// Pixels per latent.
    #[must_use]
    pub fn downscale(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

/// A CLIP tower: `text_encoder/config.json`, or one half of a CLIP model's.
#[derive(Clone, Debug, Deserialize)]
pub struct ClipTextConfig {
    /// Tokens known.
    pub vocab_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Width of the blocks' middle.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Activation of the blocks' middle.
    #[serde(default = "quick_gelu")]
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    #[serde(default = "norm_eps")]
    pub layer_norm_eps: f64,
    /// Width of the shared space.
    #[serde(default = "projection")]
    pub projection_dim: usize,
    /// The token whose state stands for the text; 2 in old files, where the largest id is meant.
    #[serde(default = "two_u32")]
    pub eos_token_id: u32,
}

/// The image half of a CLIP model's config.
#[derive(Clone, Debug, Deserialize)]
pub struct ClipVisionConfig {
    /// Side of the image.
    pub image_size: usize,
    /// Side of a patch.
    pub patch_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Width of the blocks' middle.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Activation of the blocks' middle.
    #[serde(default = "quick_gelu")]
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    #[serde(default = "norm_eps")]
    pub layer_norm_eps: f64,
    /// Width of the shared space.
    #[serde(default = "projection")]
    pub projection_dim: usize,
}

/// A CLIP model's `config.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct ClipConfig {
    /// The text tower.
    pub text_config: ClipTextConfig,
    /// The image tower.
    pub vision_config: ClipVisionConfig,
    /// Width of the shared space.
    #[serde(default = "projection")]
    pub projection_dim: usize,
}

fn yes() -> bool {
    true
}
fn one() -> usize {
    1
}
fn two() -> usize {
    2
}
fn two_u32() -> u32 {
    2
}
fn three() -> usize {
    3
}
fn four() -> usize {
    4
}
fn thirty_two() -> usize {
    32
}
fn projection() -> usize {
    512
}
fn norm_eps() -> f64 {
    1e-5
}
fn scaling_factor() -> f64 {
    0.18215
}
fn quick_gelu() -> Activation {
    Activation::QuickGelu
}
