//! What an image is generated from.

use crate::sampler::SamplerKind;

/// The prompt and the seed of one image.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// A description of the image.
    pub prompt: String,
    /// A description of what to avoid. `None` differs from an empty prompt only for SDXL, which then uses zeros instead of
    /// the encoded empty text.
    pub negative_prompt: Option<String>,
    /// Seed of the initial noise.
    pub seed: u64,
}

/// The settings that all images of a batch share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale; 1 turns guidance off: one evaluation of the UNet per step, and no effect of the negative prompt.
    pub guidance_scale: f64,
    /// Sampler.
    pub sampler: SamplerKind,
}
