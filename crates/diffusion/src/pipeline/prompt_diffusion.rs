//! Editing an image by example (Prompt Diffusion, Wang et al. 2023): Stable Diffusion 1.5 with a ControlNet that takes an
//! example pair, an image and its edited version, and the image to edit.

use super::denoise::{Progress, STEP_NOISE, denoise, draw_noise};
use super::guidance::Guidance;
use super::images::{resized, to_images, to_tensor};
use crate::controlnet::ControlNet;
use crate::noise::Noise;
use crate::part_folders::PartFolders;
use crate::sampler::{Sampler, SamplerKind};
use crate::schedule::Schedule;
use crate::text_encoders::TextEncoders;
use crate::unet::Unet;
use crate::vae::Autoencoder;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use image::RgbImage;

/// The notebook of the original implementation rounds sides to multiples of this many pixels.
const SIDE_MULTIPLE: f64 = 64.0;

/// A loaded Prompt Diffusion model.
#[derive(Debug)]
pub struct PromptDiffusion {
    unet: Unet,
    controlnet: ControlNet,
    vae: Autoencoder,
    text_encoders: TextEncoders,
    schedule: Schedule,
    device: Device,
}

/// An image to edit.
#[derive(Clone, Debug)]
pub struct Query {
    /// The image.
    pub image: RgbImage,
    /// A description of the result.
    pub prompt: String,
    /// A description of what to avoid; empty for none.
    pub negative_prompt: String,
    /// Seed of the initial noise.
    pub seed: u64,
}

/// The range of pixel values that the hints of a ControlNet have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintScale {
    /// From -1 to 1, as in the original implementation, with which the published weights were trained.
    Signed,
    /// From 0 to 1, as in diffusers' port, which uses the same weights.
    Unit,
}

/// The settings that all queries of a batch share.
#[derive(Clone, Debug)]
pub struct QuerySettings {
    /// The example pair: an image and its edited version.
    pub example: [RgbImage; 2],
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale; the unconditional prediction also uses the pair and the query.
    pub guidance_scale: f64,
    /// Sampler.
    pub sampler: SamplerKind,
    /// The range of the pixel values of pair and query.
    pub hint_scale: HintScale,
}

/// The width and height that the original implementation chooses for an image: scaled so that the shorter side has
/// `short_side` pixels, then rounded to multiples of 64.
#[must_use]
pub fn size_for(image: &RgbImage, short_side: u32) -> (u32, u32) {
    let (width, height) = image.dimensions();
    let scale = f64::from(short_side) / f64::from(width.min(height).max(1));
    let side = |side: u32| {
        let multiples = (f64::from(side) * scale / SIDE_MULTIPLE).round_ties_even().max(1.0);
        (multiples * SIDE_MULTIPLE) as u32
    };
    (side(width), side(height))
}

impl PromptDiffusion {
    /// Loads a model (Stable Diffusion 1.5) and combines it with a ControlNet.
    ///
    /// # Errors
    /// Fails if a part is missing, damaged or not supported, or the ControlNet does not fit.
    pub fn new(folders: &PartFolders, controlnet: ControlNet, device: &Device) -> Result<Self> {
        let unet_folder = folders.part("unet")?;
        let (unet, _) = Unet::load(&unet_folder, device, false)?;
        let (vae, _) = Autoencoder::load(&folders.part("vae")?, device, false)?;
        let bad = |problem: String| Error::format(&unet_folder.join("config.json"), problem);
        controlnet.check(unet.config()).map_err(bad)?;
        let hints = &controlnet.config().hints;
        if !hints.has_query() || hints.conditioning_channels != 6 {
            return Err(Error::setting(
                "controlnet",
                "is not one of Prompt Diffusion, which takes a pair (conditioning_channels 6) and a query",
            ));
        }
        if hints.downscale() != vae.config().downscale() {
            return Err(Error::setting(
                "controlnet",
                format!(
                    "encodes {} pixels into one state, but the autoencoder encodes {} into one latent",
                    hints.downscale(),
                    vae.config().downscale()
                ),
            ));
        }
        let text_encoders = TextEncoders::open(folders, device)?;
        let schedule = folders.schedule()?;
        Ok(Self { unet, controlnet, vae, text_encoders, schedule, device: device.clone() })
    }

    /// Edits one image per query, each from the noise of its own seed. Returns `None` if `progress` stopped the edit.
    ///
    /// # Errors
    /// Fails if the size or another setting is invalid.
    pub fn edit(
        &self,
        batch: &[Query],
        settings: &QuerySettings,
        progress: Progress<'_>,
    ) -> Result<Option<Vec<RgbImage>>> {
        if batch.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let shape = self.latent_shape(settings)?;
        let mut initial: Vec<Noise> = batch.iter().map(|query| Noise::new(query.seed)).collect();
        let mut sources: Vec<Noise> =
            batch.iter().map(|query| Noise::stream(query.seed, STEP_NOISE)).collect();
        let noise = draw_noise(&mut initial, shape, &self.device)?;
        let mut step_noise = || draw_noise(&mut sources, shape, &self.device);
        let latents = self.latents_from(&noise, &mut step_noise, batch, settings, progress)?;
        latents.map(|latents| to_images(&self.decode(&latents)?)).transpose()
    }

    /// The scaled latents of the edited images, (batch, channels, height, width), from the given standard normal initial noise
    /// and the given noise for each step.
    ///
    /// # Errors
    /// As [`PromptDiffusion::edit`].
    pub fn latents_from(
        &self,
        noise: &Tensor,
        step_noise: &mut dyn FnMut() -> Result<Tensor>,
        batch: &[Query],
        settings: &QuerySettings,
        progress: Progress<'_>,
    ) -> Result<Option<Tensor>> {
        let [channels, height, width] = self.latent_shape(settings)?;
        let shape = [batch.len(), channels, height, width];
        if noise.dims() != shape {
            let problem = format!("has shape {:?}, but {shape:?} is needed", noise.dims());
            return Err(Error::setting("noise", problem));
        }
        let sampler = Sampler::new(settings.sampler, &self.schedule, settings.steps as usize)?;
        let guidance = Guidance(settings.guidance_scale);
        let negative = batch.iter().filter(|_| guidance.is_on()).map(|query| query.negative_prompt.as_str());
        let texts: Vec<&str> = negative.chain(batch.iter().map(|query| query.prompt.as_str())).collect();
        let text = self.text_encoders.encode(&texts)?.states;
        let branches = texts.len() / batch.len().max(1);
        let pair = self.pair(settings)?.repeat((batch.len(), 1, 1, 1))?;
        let queries = self.hints(batch.iter().map(|query| &query.image), settings)?;
        let hints = self.controlnet.encode_hints(&pair, Some(&queries))?.repeat((branches, 1, 1, 1))?;
        denoise(&sampler, noise, step_noise, progress, |input, t| {
            guidance.predict(input, |input| {
                let timesteps = Tensor::full(t as f32, input.dim(0)?, &self.device)?;
                let residuals = self.controlnet.forward(input, &timesteps, &text, &hints)?;
                self.unet.forward_with_residuals(input, &timesteps, &text, &residuals)
            })
        })
    }

    /// Decodes scaled latents to images, (batch, 3, height, width) from about -1 to 1.
    ///
    /// # Errors
    /// Fails if the latents have another shape.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        self.vae.decode(&(latents / self.vae.config().scaling_factor)?)
    }

    /// The example pair, (1, 6, height, width): the channels of the image, then those of its edited version.
    fn pair(&self, settings: &QuerySettings) -> Result<Tensor> {
        let pair = self.hints(&settings.example, settings)?;
        Ok(pair.reshape((1, 6, pair.dim(2)?, pair.dim(3)?))?)
    }

    /// Images resized and converted to hints, (images, 3, height, width).
    fn hints<'a>(
        &self,
        images: impl IntoIterator<Item = &'a RgbImage>,
        settings: &QuerySettings,
    ) -> Result<Tensor> {
        let resized = images.into_iter().map(|image| resized(image, settings.width, settings.height));
        let hints = to_tensor(resized, &self.device)?;
        match settings.hint_scale {
            HintScale::Signed => Ok(hints),
            HintScale::Unit => Ok(((hints + 1.0)? * 0.5)?),
        }
    }

    /// Channels, height and width of the latents.
    fn latent_shape(&self, settings: &QuerySettings) -> Result<[usize; 3]> {
        let QuerySettings { width, height, .. } = *settings;
        let multiple = self.vae.config().downscale() as u32;
        if width == 0 || height == 0 || width % multiple != 0 || height % multiple != 0 {
            let problem = format!("{width} x {height} pixels: use multiples of {multiple}");
            return Err(Error::setting("size", problem));
        }
        let side = |pixels: u32| (pixels / multiple) as usize;
        Ok([self.vae.config().latent_channels, side(height), side(width)])
    }
}
