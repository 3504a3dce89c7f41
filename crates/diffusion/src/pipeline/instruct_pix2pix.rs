//! Editing an image by an instruction (InstructPix2Pix, Brooks et al. 2023): a UNet whose input has the image's latents next
//! to the noisy ones, with separate guidance scales for the text and the image.

use super::denoise::{Progress, STEP_NOISE, denoise, draw_noise};
use super::images::{resized, to_images, to_tensor};
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
use std::path::Path;

/// A loaded InstructPix2Pix model.
#[derive(Debug)]
pub struct InstructPix2Pix {
    unet: Unet,
    vae: Autoencoder,
    text_encoders: TextEncoders,
    schedule: Schedule,
    sampler: SamplerKind,
    device: Device,
}

/// An image and the instruction to edit it.
#[derive(Clone, Debug)]
pub struct Edit {
    /// The image to edit. It is resized so that its sides are multiples of a latent's pixels, rounded down.
    pub image: RgbImage,
    /// The instruction, for example "make it a painting".
    pub instruction: String,
    /// A description of what to avoid; empty for none.
    pub negative_prompt: String,
    /// Seed of the initial noise.
    pub seed: u64,
}

/// The settings that all edits of a batch share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EditSettings {
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale of the instruction (s_T).
    pub guidance_scale: f64,
    /// Guidance scale of the image (s_I).
    pub image_guidance_scale: f64,
    /// Sampler.
    pub sampler: SamplerKind,
}

impl EditSettings {
    /// Whether guidance is on: as in diffusers by both text and image, or else not at all.
    fn is_guided(&self) -> bool {
        self.guidance_scale > 1.0 && self.image_guidance_scale >= 1.0
    }

    /// e_none + s_T (e_full - e_image) + s_I (e_image - e_none) (Brooks et al., Eq. 3). `predictions`: those with text and
    /// image (full), with the image alone, and with neither (none), concatenated in this order.
    fn guided(&self, predictions: &Tensor) -> Result<Tensor> {
        let thirds = predictions.chunk(3, 0)?;
        let (full, image, none) = (&thirds[0], &thirds[1], &thirds[2]);
        let by_text = ((full - image)? * self.guidance_scale)?;
        let by_image = ((image - none)? * self.image_guidance_scale)?;
        Ok(((none + by_text)? + by_image)?)
    }
}

impl InstructPix2Pix {
    /// Loads the model in `folder`, whose missing parts are in `base`.
    ///
    /// # Errors
    /// Fails if a part is missing, damaged or not supported, or the UNet takes no image.
    pub fn load(folder: &Path, base: Option<&Path>, device: &Device) -> Result<Self> {
        let folders = PartFolders::new(folder, base);
        let unet_folder = folders.part("unet")?;
        let (unet, _) = Unet::load(&unet_folder, device, false)?;
        let (vae, _) = Autoencoder::load(&folders.part("vae")?, device, false)?;
        let (has, needed) = (unet.config().in_channels, 2 * vae.config().latent_channels);
        if has != needed {
            let problem = format!(
                "in_channels: is {has}, but the UNet of an InstructPix2Pix model takes {needed}: the image's latents \
                 next to the noisy ones"
            );
            return Err(Error::format(&unet_folder.join("config.json"), problem));
        }
        let text_encoders = TextEncoders::open(&folders, device)?;
        let schedule = folders.schedule()?;
        let sampler = SamplerKind::of(schedule.config()).map_err(|problem| Error::format(folder, problem))?;
        Ok(Self { unet, vae, text_encoders, schedule, sampler, device: device.clone() })
    }

    /// The sampler that the model's authors chose; Euler ancestral in the published model.
    #[must_use]
    pub fn sampler(&self) -> SamplerKind {
        self.sampler
    }

    /// Edits images. Each edit starts from the noise of its own seed, so it does not depend on the rest of the batch. All
    /// images of a batch must have one size. Returns `None` if `progress` stopped the edit.
    ///
    /// # Errors
    /// Fails if an image is too small, the sizes differ, or a setting is invalid.
    pub fn edit(
        &self,
        batch: &[Edit],
        settings: &EditSettings,
        progress: Progress<'_>,
    ) -> Result<Option<Vec<RgbImage>>> {
        let Some(first) = batch.first() else { return Ok(Some(Vec::new())) };
        let [height, width] = self.latent_size(&first.image)?;
        let shape = [self.vae.config().latent_channels, height, width];
        let mut initial: Vec<Noise> = batch.iter().map(|edit| Noise::new(edit.seed)).collect();
        let mut sources: Vec<Noise> = batch.iter().map(|edit| Noise::stream(edit.seed, STEP_NOISE)).collect();
        let noise = draw_noise(&mut initial, shape, &self.device)?;
        let mut step_noise = || draw_noise(&mut sources, shape, &self.device);
        let latents = self.latents_from(&noise, &mut step_noise, batch, settings, progress)?;
        latents.map(|latents| to_images(&self.decode(&latents)?)).transpose()
    }

    /// The scaled latents of edited images, (batch, channels, height, width), from the given standard normal initial noise and
    /// the given noise for each step.
    ///
    /// # Errors
    /// As [`InstructPix2Pix::edit`].
    pub fn latents_from(
        &self,
        noise: &Tensor,
        step_noise: &mut dyn FnMut() -> Result<Tensor>,
        batch: &[Edit],
        settings: &EditSettings,
        progress: Progress<'_>,
    ) -> Result<Option<Tensor>> {
        let sampler = Sampler::new(settings.sampler, &self.schedule, settings.steps as usize)?;
        let mut images = self.encode(batch)?;
        if noise.dims() != images.dims() {
            let problem = format!("has shape {:?}, but {:?} is needed", noise.dims(), images.dims());
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
        denoise(&sampler, noise, step_noise, progress, |input, t| {
            let input = if settings.is_guided() { input.repeat((3, 1, 1, 1))? } else { input.clone() };
            let timesteps = Tensor::full(t as f32, input.dim(0)?, &self.device)?;
            let prediction = self.unet.forward(&Tensor::cat(&[&input, &images], 1)?, &timesteps, &text)?;
            if settings.is_guided() { settings.guided(&prediction) } else { Ok(prediction) }
        })
    }

    /// Decodes scaled latents to images, (batch, 3, height, width) from about -1 to 1.
    ///
    /// # Errors
    /// Fails if the latents have another shape.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        self.vae.decode(&(latents / self.vae.config().scaling_factor)?)
    }

    /// The images' latents as this UNet was trained with them: the mode of the posterior, which is its mean, and not scaled.
    fn encode(&self, batch: &[Edit]) -> Result<Tensor> {
        let mut images = Vec::with_capacity(batch.len());
        for edit in batch {
            let [height, width] = self.latent_size(&edit.image)?.map(|n| (n * self.downscale()) as u32);
            images.push(resized(&edit.image, width, height));
        }
        Ok(self.vae.encode(&to_tensor(images, &self.device)?)?.mean)
    }

    /// Pixels per latent, horizontally and vertically.
    fn downscale(&self) -> usize {
        self.vae.config().downscale()
    }

    /// Height and width in latents, rounded down.
    fn latent_size(&self, image: &RgbImage) -> Result<[usize; 2]> {
        let size = [image.height(), image.width()].map(|side| side as usize / self.downscale());
        if size.contains(&0) {
            let (width, height) = image.dimensions();
            let problem = format!("{width} x {height} pixels: each side needs at least {}", self.downscale());
            return Err(Error::setting("image", problem));
        }
        Ok(size)
    }
}
