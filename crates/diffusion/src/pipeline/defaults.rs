//! A model's default settings.

use crate::config::{self, UnetConfig, VaeConfig};
use crate::layout::SCHEDULE;
use crate::part_folders::PartFolders;
use crate::sampler::SamplerKind;
use crate::unet::Unet;
use crate::{Error, Result};
use serde::Deserialize;

/// The settings that a model uses where a request has none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale.
    pub guidance_scale: f64,
    /// Sampler.
    pub sampler: SamplerKind,
}

/// The optional file with the settings that a model's authors recommend.
const GENERATION_CONFIG: &str = "generation_config.json";

/// The content of `generation_config.json`.
#[derive(Debug, Default, Deserialize)]
struct GenerationConfig {
    num_inference_steps: Option<u32>,
    guidance_scale: Option<f64>,
    sampler: Option<String>,
}

impl PartFolders {
    /// The model's default settings, and the number of pixels that width and height must be multiples of. Reads only
    /// configs.
    ///
    /// # Errors
    /// Fails if a config is missing or not supported, or the parts do not fit together.
    pub fn defaults(&self) -> Result<(Defaults, u32)> {
        self.check_fit()?;
        let unet = Unet::config_of(&self.part("unet")?)?;
        let vae = VaeConfig::read(&self.part("vae")?.join("config.json"))?;
        let recommended: GenerationConfig = match self.part(GENERATION_CONFIG) {
            Ok(file) => config::read(&file)?,
            Err(_) => GenerationConfig::default(),
        };
        let side = (unet.sample_size * vae.downscale()) as u32;
        let defaults = Defaults {
            width: side,
            height: side,
            steps: recommended.num_inference_steps.unwrap_or(30),
            guidance_scale: recommended.guidance_scale.unwrap_or_else(|| guidance_scale(&unet)),
            sampler: default_sampler(self, recommended.sampler.as_deref())?,
        };
        // The UNet accepts latents of any size, so only the autoencoder restricts the image.
        Ok((defaults, vae.downscale() as u32))
    }
}

/// The recommended sampler, or else the one in the noise schedule's file, if that file's settings are supported.
fn default_sampler(folders: &PartFolders, recommended: Option<&str>) -> Result<SamplerKind> {
    let file = folders.part(SCHEDULE)?;
    let schedule = folders.schedule()?;
    let kind = match recommended {
        Some(name) => {
            name.parse().map_err(|e: String| Error::format(&folders.own().join(GENERATION_CONFIG), e))?
        }
        None => SamplerKind::of(schedule.config()).map_err(|e| Error::format(&file, e))?,
    };
    kind.check(schedule.config()).map_err(|e| Error::format(&file, e))?;
    Ok(kind)
}

/// diffusers' default guidance scale for models with pooled text (SDXL) and for others.
fn guidance_scale(unet: &UnetConfig) -> f64 {
    if unet.added_widths().is_some() { 5.0 } else { 7.5 }
}
