//! An image made into another as an example pair shows it (Prompt Diffusion, Wang et al. 2023): Stable Diffusion 1.5
//! steered by a ControlNet that sees the pair and the image.

use super::denoise::{FRESH_NOISE, denoise, draw};
use super::guidance::Guidance;
use super::images::{resized, to_tensor};
use super::{Folders, to_images};
use crate::controlnet::ControlNet;
use crate::noise::Noise;
use crate::sampler::{Sampler, SamplerKind};
use crate::schedule::Schedule;
use crate::text_encoders::TextEncoders;
use crate::unet::Unet;
use crate::vae::Autoencoder;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use image::RgbImage;
use std::ops::ControlFlow;

/// The notebook of the first implementation rounds sides to this many pixels.
const SIDE_MULTIPLE: f64 = 64.0;

/// A loaded editor.
#[derive(Debug)]
pub struct PromptDiffusion {
    unet: Unet,
    controlnet: ControlNet,
    vae: Autoencoder,
    text_encoders: TextEncoders,
    schedule: Schedule,
    device: Device,
}

/// An image and what to make of it.
#[derive(Clone, Debug)]
pub struct Query {
    /// What is edited.
    pub image: RgbImage,
    /// What the result shows.
    pub prompt: String,
    /// What to steer away from; empty for none.
    pub negative_prompt: String,
    /// Of the starting noise.
    pub seed: u64,
}

/// The scale of the pixels that a ControlNet's weights were trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintScale {
    /// From -1 to 1: the first implementation, whose training these weights come from.
    Signed,
    /// From 0 to 1: diffusers' port, which feeds the same weights so.
    Unit,
}

/// What all queries of a batch share.
#[derive(Clone, Debug)]
pub struct QuerySettings {
    /// An image, and what was made of it: what is to be done with the query.
    pub example: [RgbImage; 2],
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale; pair and query stay in the unprompted branch.
    pub guidance_scale: f64,
    /// Sampler.
    pub sampler: SamplerKind,
    /// The scale of pair and query.
    pub hint_scale: HintScale,
}

/// Width and height for an image, as the first implementation chooses them: the shorter side `short_side` pixels, both
/// rounded to multiples of 64.
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
    /// Puts a ControlNet over a model in diffusers layout (Stable Diffusion 1.5).
    ///
    /// # Errors
    /// A part that is missing, damaged or not supported, or a ControlNet that does not fit.
    pub fn new(folders: &Folders, controlnet: ControlNet, device: &Device) -> Result<Self> {
        let unet_folder = folders.part("unet")?;
        let (unet, _) = Unet::load(&unet_folder, device, false)?;
        let (vae, _) = Autoencoder::load(&folders.part("vae")?, device, false)?;
        let bad = |problem: String| Error::format(&unet_folder.join("config.json"), problem);
        controlnet.check(unet.config()).map_err(bad)?;
        let hints = &controlnet.config().hints;
        if !hints.has_query() || hints.conditioning_channels != 6 {
            return Err(Error::setting(
                "controlnet",
                "is a plain one: Prompt Diffusion's sees a pair (conditioning_channels 6) and a query",
            ));
        }
        if hints.downscale() != vae.config().downscale() {
            return Err(Error::setting(
                "controlnet",
                format!(
                    "makes one state of {} pixels where the autoencoder makes one latent of {}",
                    hints.downscale(),
                    vae.config().downscale()
                ),
            ));
        }
        let text_encoders = TextEncoders::open(folders, device)?;
        let schedule = folders.schedule()?;
        Ok(Self { unet, controlnet, vae, text_encoders, schedule, device: device.clone() })
    }

    /// One image per query, each from its own seed's noise. `progress` hears of each step (done, of all) and can
    /// stop: then the result is `None`.
    ///
    /// # Errors
    /// A size that does not fit, settings that cannot be had, or candle's.
    pub fn edit(
        &self,
        batch: &[Query],
        settings: &QuerySettings,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<Vec<RgbImage>>> {
        if batch.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let shape = self.latent_shape(settings)?;
        let mut starts: Vec<Noise> = batch.iter().map(|query| Noise::new(query.seed)).collect();
        let mut fresh: Vec<Noise> =
            batch.iter().map(|query| Noise::stream(query.seed, FRESH_NOISE)).collect();
        let noise = draw(&mut starts, shape, &self.device)?;
        let mut fresh_noise = || draw(&mut fresh, shape, &self.device);
        let latents = self.latents_from(&noise, &mut fresh_noise, batch, settings, progress)?;
        latents.map(|latents| to_images(&self.decode(&latents)?)).transpose()
    }

    /// The latents of the images, (batch, channels, height, width), scaled, from given standard normal noise and
    /// with given noise on the way.
    ///
    /// # Errors
    /// As for [`PromptDiffusion::edit`].
    pub fn latents_from(
        &self,
        noise: &Tensor,
        fresh_noise: &mut dyn FnMut() -> Result<Tensor>,
        batch: &[Query],
        settings: &QuerySettings,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<Tensor>> {
        let [channels, height, width] = self.latent_shape(settings)?;
        let shape = [batch.len(), channels, height, width];
        if noise.dims() != shape {
            let problem = format!("has shape {:?} where {shape:?} is needed", noise.dims());
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
        denoise(&sampler, noise, fresh_noise, progress, |seen, t| {
            guidance.predict(seen, |seen| {
                let timesteps = Tensor::full(t as f32, seen.dim(0)?, &self.device)?;
                let residuals = self.controlnet.forward(seen, &timesteps, &text, &hints)?;
                self.unet.forward_with_residuals(seen, &timesteps, &text, &residuals)
            })
        })
    }

    /// Images (batch, 3, height, width) from about -1 to 1.
    ///
    /// # Errors
    /// candle's.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        self.vae.decode(&(latents / self.vae.config().scaling_factor)?)
    }

    /// The example pair, (1, 6, height, width): the image's channels, then those of what was made of it.
    fn pair(&self, settings: &QuerySettings) -> Result<Tensor> {
        let pair = self.hints(&settings.example, settings)?;
        Ok(pair.reshape((1, 6, pair.dim(2)?, pair.dim(3)?))?)
    }

    /// (images, 3, height, width) in the scale of hints.
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

    /// Channels, height and width in latents.
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
