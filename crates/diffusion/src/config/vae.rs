//! `vae/config.json`, with the meaning that diffusers' `AutoencoderKL` gives every field.

use super::defaults::{four, one, thirty_two, three, yes};
use super::read::{CONFIG_FILE, parse, read_supported};
use super::unsupported;
use crate::{Error, Result};
use serde::Deserialize;
use std::path::Path;

/// `vae/config.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct VaeConfig {
    /// Channels of the images that are encoded.
    #[serde(default = "three")]
    pub in_channels: usize,
    /// Channels of the images that are decoded.
    #[serde(default = "three")]
    pub out_channels: usize,
    /// Channels of the latents.
    #[serde(default = "four")]
    pub latent_channels: usize,
    /// Channels of each block.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks per block of the encoder; a block of the decoder has one more.
    #[serde(default = "one")]
    pub layers_per_block: usize,
    /// Groups of every group norm.
    #[serde(default = "thirty_two")]
    pub norm_num_groups: usize,
    /// The factor that gives latents unit variance.
    #[serde(default = "scaling_factor")]
    pub scaling_factor: f64,
    /// Whether the middle block has attention.
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
    /// Fails if the file cannot be read or has an unsupported setting.
    pub fn read(file: &Path) -> Result<Self> {
        let config: Self = read_supported(file, unsupported::VAE)?;
        config.check(file)?;
        Ok(config)
    }

    /// As [`VaeConfig::read`], from the content of the file.
    ///
    /// # Errors
    /// Fails if the config has an unsupported setting.
    pub fn of(config: serde_json::Value) -> Result<Self> {
        let file = Path::new(CONFIG_FILE);
        let config: Self = parse(config, file, unsupported::VAE)?;
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

    /// Pixels per latent, horizontally and vertically.
    #[must_use]
    pub fn downscale(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

fn scaling_factor() -> f64 {
    0.18215
}
