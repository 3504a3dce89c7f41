//! Text to image: text encoders, guided denoising, decoder.

use super::defaults::Defaults;
use super::denoise::{Progress, STEP_NOISE, denoise, draw_noise};
use super::guidance::Guidance;
use super::images::to_images;
use super::prompt::{Prompt, Settings};
use crate::conditioning::MicroConditioning;
use crate::noise::Noise;
use crate::part_folders::PartFolders;
use crate::sampler::Sampler;
use crate::schedule::Schedule;
use crate::text_encoders::TextEncoders;
use crate::unet::Unet;
use crate::vae::Autoencoder;
use crate::weights::Weights;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use image::RgbImage;
use std::path::Path;

/// A loaded model.
#[derive(Debug)]
pub struct TextToImage {
    pub(super) unet: Unet,
    /// The UNet's parameters without the adapters of a request; `None` for a UNet that was not loaded from a folder.
    pub(super) weights: Option<Weights>,
    vae: Autoencoder,
    pub(super) text_encoders: TextEncoders,
    schedule: Schedule,
    defaults: Defaults,
    size_multiple: u32,
    pub(super) device: Device,
}

impl TextToImage {
    /// Loads the model in `folder`, whose missing parts are in `base`.
    ///
    /// # Errors
    /// Fails if a part is missing, damaged or not supported; the message names the file and the tensor.
    pub fn load(folder: &Path, base: Option<&Path>, device: &Device) -> Result<Self> {
        Self::open(&PartFolders::new(folder, base), device)
    }

    /// Loads a model.
    ///
    /// # Errors
    /// As [`TextToImage::load`].
    pub fn open(folders: &PartFolders, device: &Device) -> Result<Self> {
        let (unet, weights) = folders.unet(device)?;
        Ok(Self { weights: Some(weights), ..Self::with_unet(unet, folders, device)? })
    }

    /// Loads a model with the given UNet instead of its own, as during training.
    ///
    /// # Errors
    /// As [`TextToImage::load`].
    pub fn with_unet(unet: Unet, folders: &PartFolders, device: &Device) -> Result<Self> {
        let (defaults, size_multiple) = folders.defaults()?;
        let (vae, _) = Autoencoder::load(&folders.part("vae")?, device, false)?;
        let text_encoders = TextEncoders::open(folders, device)?;
        text_encoders.check(unet.config()).map_err(|problem| match folders.part("unet/config.json") {
            Ok(file) => Error::format(&file, problem),
            Err(error) => error,
        })?;
        let schedule = folders.schedule()?;
        Ok(Self {
            unet,
            weights: None,
            vae,
            text_encoders,
            schedule,
            defaults,
            size_multiple,
            device: device.clone(),
        })
    }

    /// Replaces the UNet by another of the same shape, as between the steps of a training run.
    pub fn set_unet(&mut self, unet: Unet) {
        self.unet = unet;
    }

    /// The model's default settings.
    #[must_use]
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// The number of pixels that width and height must be multiples of.
    #[must_use]
    pub fn size_multiple(&self) -> u32 {
        self.size_multiple
    }

    /// The UNet.
    #[must_use]
    pub fn unet(&self) -> &Unet {
        &self.unet
    }

    /// The text encoders.
    #[must_use]
    pub fn text_encoders(&self) -> &TextEncoders {
        &self.text_encoders
    }

    /// Generates one image per prompt. Each image starts from the noise of its own seed, so it does not depend on the rest
    /// of the batch. Returns `None` if `progress` stopped the generation.
    ///
    /// # Errors
    /// Fails if the size or another setting is invalid.
    pub fn generate(
        &self,
        batch: &[Prompt],
        settings: &Settings,
        progress: Progress<'_>,
    ) -> Result<Option<Vec<RgbImage>>> {
        if batch.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let mut sources: Vec<Noise> = batch.iter().map(|p| Noise::new(p.seed)).collect();
        let noise = draw_noise(&mut sources, self.latent_shape(settings)?, &self.device)?;
        self.generate_from(&noise, batch, settings, progress)
    }

    /// As [`TextToImage::generate`], from the given standard normal noise, (batch, channels, height, width) in latents,
    /// instead of the noise of the seeds.
    ///
    /// # Errors
    /// Fails if the size, the noise or another setting is invalid.
    pub fn generate_from(
        &self,
        noise: &Tensor,
        batch: &[Prompt],
        settings: &Settings,
        progress: Progress<'_>,
    ) -> Result<Option<Vec<RgbImage>>> {
        self.decoded_from(noise, batch, settings, progress)?.as_ref().map(to_images).transpose()
    }

    /// As [`TextToImage::generate_from`], but returns the decoder's output, (batch, 3, height, width) from about -1 to 1.
    ///
    /// # Errors
    /// As [`TextToImage::generate_from`].
    pub fn decoded_from(
        &self,
        noise: &Tensor,
        batch: &[Prompt],
        settings: &Settings,
        progress: Progress<'_>,
    ) -> Result<Option<Tensor>> {
        let Settings { steps, guidance_scale, sampler, .. } = *settings;
        let latent_shape = self.latent_shape(settings)?;
        let [channels, height, width] = latent_shape;
        let shape = [batch.len(), channels, height, width];
        if noise.dims() != shape {
            let problem = format!("has shape {:?}, but {shape:?} is needed", noise.dims());
            return Err(Error::setting("noise", problem));
        }
        let sampler = Sampler::new(sampler, &self.schedule, steps as usize)?;
        let guidance = Guidance(guidance_scale);
        let texts = guidance.texts(batch);
        let sizes = vec![MicroConditioning::whole(settings.height, settings.width); texts.len()];
        let conditioning = self.text_encoders.encode_optional(&texts)?.for_images(&sizes)?;
        let mut sources: Vec<Noise> = batch.iter().map(|p| Noise::stream(p.seed, STEP_NOISE)).collect();
        let mut step_noise = || draw_noise(&mut sources, latent_shape, &self.device);
        let latents = denoise(&sampler, noise, &mut step_noise, progress, |input, t| {
            guidance.predict(input, |input| {
                let timesteps = Tensor::full(t as f32, input.dim(0)?, &self.device)?;
                self.unet.forward_with(input, &timesteps, &conditioning.text, conditioning.added.as_ref())
            })
        })?;
        let Some(latents) = latents else { return Ok(None) };
        self.vae.decode(&(latents / self.vae.config().scaling_factor)?).map(Some)
    }

    /// Channels, height and width of the latents.
    fn latent_shape(&self, settings: &Settings) -> Result<[usize; 3]> {
        let Settings { width, height, .. } = *settings;
        let multiple = self.size_multiple;
        if width == 0 || height == 0 || width % multiple != 0 || height % multiple != 0 {
            let problem = format!("{width} x {height} pixels: use multiples of {multiple}");
            return Err(Error::setting("size", problem));
        }
        let channels = self.unet.config().in_channels;
        Ok([channels, (height / multiple) as usize, (width / multiple) as usize])
    }
}
