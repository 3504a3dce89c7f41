//! An image and an instruction to the edited image (InstructPix2Pix, Brooks et al. 2023): a UNet that sees the
//! image's latents beside the noised ones, and two guidances, one by the text and one by the image.

use super::denoise::{FRESH_NOISE, denoise, draw};
use super::images::{resized, to_tensor};
use super::{Folders, to_images};
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
use std::path::Path;

/// A loaded editor.
#[derive(Debug)]
pub struct InstructPix2Pix {
    unet: Unet,
    vae: Autoencoder,
    text_encoders: TextEncoders,
    schedule: Schedule,
    sampler: SamplerKind,
    device: Device,
}

/// An image and what to make of it.
#[derive(Clone, Debug)]
pub struct Edit {
    /// What is edited. Sides that the autoencoder cannot halve evenly are rounded down, the image resized.
    pub image: RgbImage,
    /// What to do with it, as "make it a painting".
    pub instruction: String,
    /// What to steer away from; empty for none.
    pub negative_prompt: String,
    /// Of the starting noise.
    pub seed: u64,
}

/// What all edits of a batch share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EditSettings {
    /// Denoising steps.
    pub steps: u32,
    /// How far to go along with the instruction (s_T).
    pub guidance_scale: f64,
    /// How close to stay to the image (s_I).
    pub image_guidance_scale: f64,
    /// Sampler.
    pub sampler: SamplerKind,
}

impl EditSettings {
    /// diffusers guides by both or not at all, and makes one evaluation per step then.
    fn is_guided(&self) -> bool {
        self.guidance_scale > 1.0 && self.image_guidance_scale >= 1.0
    }

    /// e_none + s_T (e_full - e_image) + s_I (e_image - e_none), of predictions in this order: full, image
    /// alone, none (Brooks et al., Eq. 3).
    fn guided(&self, predictions: &Tensor) -> Result<Tensor> {
        let thirds = predictions.chunk(3, 0)?;
        let (full, image, none) = (&thirds[0], &thirds[1], &thirds[2]);
        let by_text = ((full - image)? * self.guidance_scale)?;
        let by_image = ((image - none)? * self.image_guidance_scale)?;
        Ok(((none + by_text)? + by_image)?)
    }
}

impl InstructPix2Pix {
    /// Loads a folder in diffusers layout. Parts that `folder` lacks come from `base`.
    ///
    /// # Errors
    /// A part that is missing, damaged or not supported, or a UNet that does not see an image.
    pub fn load(folder: &Path, base: Option<&Path>, device: &Device) -> Result<Self> {
        let folders = Folders::new(folder, base);
        let unet_folder = folders.part("unet")?;
        let (unet, _) = Unet::load(&unet_folder, device, false)?;
        let (vae, _) = Autoencoder::load(&folders.part("vae")?, device, false)?;
        let (has, needed) = (unet.config().in_channels, 2 * vae.config().latent_channels);
        if has != needed {
            let problem = format!(
                "in_channels: is {has} where an editor's UNet sees {needed}, the image's latents beside its own: \
                 this is no InstructPix2Pix model"
            );
            return Err(Error::format(&unet_folder.join("config.json"), problem));
        }
        let text_encoders = TextEncoders::open(&folders, device)?;
        let schedule = folders.schedule()?;
        let sampler = SamplerKind::of(schedule.config()).map_err(|problem| Error::format(folder, problem))?;
        Ok(Self { unet, vae, text_encoders, schedule, sampler, device: device.clone() })
    }

    /// The sampler that the model's authors chose: Euler ancestral in the published one.
    #[must_use]
    pub fn sampler(&self) -> SamplerKind {
        self.sampler
    }

    /// One edited image per edit, each from its own seed's noise, so that it does not depend on its batch; all
    /// images of a batch need one size. `progress` hears of each step (done, of all) and can stop: then the result
    /// is `None`.
    ///
    /// # Errors
    /// An image that is too small, sizes that differ, settings that cannot be had, or candle's.
    pub fn edit(
        &self,
        batch: &[Edit],
        settings: &EditSettings,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<Vec<RgbImage>>> {
        let Some(first) = batch.first() else { return Ok(Some(Vec::new())) };
        let [height, width] = self.latent_size(&first.image)?;
        let shape = [self.vae.config().latent_channels, height, width];
        let mut starts: Vec<Noise> = batch.iter().map(|edit| Noise::new(edit.seed)).collect();
        let mut fresh: Vec<Noise> = batch.iter().map(|edit| Noise::stream(edit.seed, FRESH_NOISE)).collect();
        let noise = draw(&mut starts, shape, &self.device)?;
        let mut fresh_noise = || draw(&mut fresh, shape, &self.device);
        let latents = self.latents_from(&noise, &mut fresh_noise, batch, settings, progress)?;
        latents.map(|latents| to_images(&self.decode(&latents)?)).transpose()
    }

    /// The latents of edited images, (batch, channels, height, width), scaled, from given standard normal noise and
    /// with given noise on the way.
    ///
    /// # Errors
    /// As for [`InstructPix2Pix::edit`].
    pub fn latents_from(
        &self,
        noise: &Tensor,
        fresh_noise: &mut dyn FnMut() -> Result<Tensor>,
        batch: &[Edit],
        settings: &EditSettings,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<Tensor>> {
        let sampler = Sampler::new(settings.sampler, &self.schedule, settings.steps as usize)?;
        let mut images = self.encode(batch)?;
        if noise.dims() != images.dims() {
            let problem = format!("has shape {:?} where {:?} is needed", noise.dims(), images.dims());
            return Err(Error::setting("noise", problem));
        }
        let instructions = batch.iter().map(|edit| edit.instruction.as_str());
        let negative = || batch.iter().map(|edit| edit.negative_prompt.as_str());
        let texts: Vec<&str> = if settings.is_guided() {
            images = Tensor::cat(&[&images, &images, &images.zeros_like()?], 0)?;
            instructions.chain(negative()).chain(negative()).collect()
        } else {
            instructions.collect()
        };
        let text = self.text_encoders.encode(&texts)?.states;
        denoise(&sampler, noise, fresh_noise, progress, |seen, t| {
            let seen = if settings.is_guided() { seen.repeat((3, 1, 1, 1))? } else { seen.clone() };
            let timesteps = Tensor::full(t as f32, seen.dim(0)?, &self.device)?;
            let prediction = self.unet.forward(&Tensor::cat(&[&seen, &images], 1)?, &timesteps, &text)?;
            if settings.is_guided() { settings.guided(&prediction) } else { Ok(prediction) }
        })
    }

    /// Images (batch, 3, height, width) from about -1 to 1.
    ///
    /// # Errors
    /// candle's.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        self.vae.decode(&(latents / self.vae.config().scaling_factor)?)
    }

    /// The images' latents as this UNet sees them: the posterior's mode, which is its mean, and not scaled.
    fn encode(&self, batch: &[Edit]) -> Result<Tensor> {
        let mut images = Vec::with_capacity(batch.len());
        for edit in batch {
            let [height, width] = self.latent_size(&edit.image)?.map(|n| (n * self.multiple()) as u32);
            images.push(resized(&edit.image, width, height));
        }
        Ok(self.vae.encode(&to_tensor(images, &self.device)?)?.mean)
    }

    /// Pixels per latent.
    fn multiple(&self) -> usize {
        self.vae.config().downscale()
    }

    /// Height and width in latents, rounded down.
    fn latent_size(&self, image: &RgbImage) -> Result<[usize; 2]> {
        let size = [image.height(), image.width()].map(|side| side as usize / self.multiple());
        if size.contains(&0) {
            let (width, height) = image.dimensions();
            let problem =
                format!("{width} x {height} pixels: at least {} a side are needed", self.multiple());
            return Err(Error::setting("image", problem));
        }
        Ok(size)
    }
}
