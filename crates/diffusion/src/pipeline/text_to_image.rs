//! Text to image: text encoders, guided denoising, decoder.

use super::guidance::Guidance;
use crate::conditioning::MicroConditioning;
use crate::config::{self, UnetConfig, VaeConfig};
use crate::noise::Noise;
use crate::sampler::{Sampler, SamplerKind};
use crate::schedule::Schedule;
use crate::text_encoders::TextEncoders;
use crate::unet::Unet;
use crate::vae::Autoencoder;
use crate::weights::Weights;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use serde::Deserialize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A loaded model.
#[derive(Debug)]
pub struct TextToImage {
    pub(super) unet: Unet,
    /// The UNet's parameters before any adapter of a request; none where the network came from elsewhere.
    pub(super) weights: Option<Weights>,
    vae: Autoencoder,
    text_encoders: TextEncoders,
    schedule: Schedule,
    defaults: Defaults,
    size_multiple: u32,
    pub(super) device: Device,
}

/// What a model does unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale.
    pub guidance_scale: f64,
    /// Sampler.
    pub sampler: SamplerKind,
}

/// What to image, and from which noise.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What to image.
    pub prompt: String,
    /// What to steer away from. Without one SDXL is steered away from zeros, as its authors have it, where an empty
    /// one means the empty text; for other models none and an empty one are the same.
    pub negative_prompt: Option<String>,
    /// Of the starting noise.
    pub seed: u64,
}

/// What all images of a batch share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale; 1 evaluates the network once per step, without the negative prompt.
    pub guidance_scale: f64,
    /// Sampler.
    pub sampler: SamplerKind,
}

/// Where a model's parts lie: in its own folder, or in its base's where its own lacks them.
#[derive(Clone, Debug)]
pub struct Folders {
    pub(super) folder: PathBuf,
    /// The folders that have what it lacks, nearest first.
    pub(super) bases: Vec<PathBuf>,
}

/// The optional file that says how a model's authors use it.
const GENERATION_CONFIG: &str = "generation_config.json";

/// The noise schedule's file.
const SCHEDULE: &str = "scheduler/scheduler_config.json";
/// The stream of a seed that holds the noise which samplers add on the way.
const FRESH_NOISE: u64 = 1;

/// `generation_config.json`.
#[derive(Debug, Default, Deserialize)]
struct GenerationConfig {
    num_inference_steps: Option<u32>,
    guidance_scale: Option<f64>,
    sampler: Option<String>,
}

impl Folders {
    /// `folder` in diffusers layout, and the folder that has what it lacks.
    #[must_use]
    pub fn new(folder: &Path, base: Option<&Path>) -> Self {
        Self::over(folder, base.map(Path::to_owned).into_iter().collect())
    }

    /// `folder` in diffusers layout, and the folders that have what it lacks, nearest first: those of the models that
    /// it descends from. Where the nearest UNet is not its own, the adapters before it are fused into it.
    #[must_use]
    pub fn over(folder: &Path, bases: Vec<PathBuf>) -> Self {
        Self { folder: folder.to_owned(), bases }
    }

    /// The model's own folder.
    #[must_use]
    pub fn own(&self) -> &Path {
        &self.folder
    }

    /// Where a part (`unet`, `vae`, ...) or file lies.
    ///
    /// # Errors
    /// Neither folder has it.
    pub fn part(&self, name: &str) -> Result<PathBuf> {
        std::iter::once(&self.folder)
            .chain(&self.bases)
            .map(|folder| folder.join(name))
            .find(|path| path.exists())
            .ok_or_else(|| {
                Error::format(
                    &self.folder.join(name),
                    "is not there: the folder is no whole model in diffusers layout",
                )
            })
    }

    /// What the model does unless told otherwise, and the number of pixels that width and height must be multiples
    /// of. Reads configs only.
    ///
    /// # Errors
    /// A config is missing or not supported.
    pub fn defaults(&self) -> Result<(Defaults, u32)> {
        let unet = Unet::config_of(&self.part("unet")?)?;
        let vae = VaeConfig::read(&self.part("vae")?.join("config.json"))?;
        let given: GenerationConfig = match self.part(GENERATION_CONFIG) {
            Ok(file) => config::read(&file)?,
            Err(_) => GenerationConfig::default(),
        };
        let side = (unet.sample_size * vae.downscale()) as u32;
        let defaults = Defaults {
            width: side,
            height: side,
            steps: given.num_inference_steps.unwrap_or(30),
            guidance_scale: given.guidance_scale.unwrap_or_else(|| guidance_scale(&unet)),
            sampler: self.default_sampler(given.sampler.as_deref())?,
        };
        // The UNet itself copes with odd latents; what must divide is the autoencoder's part.
        Ok((defaults, vae.downscale() as u32))
    }

    /// The sampler of that name, or the one of the noise schedule's file, if it can obey that file.
    fn default_sampler(&self, given: Option<&str>) -> Result<SamplerKind> {
        let file = self.part(SCHEDULE)?;
        let schedule = Schedule::load(&file)?;
        let kind = match given {
            Some(name) => {
                name.parse().map_err(|e: String| Error::format(&self.folder.join(GENERATION_CONFIG), e))?
            }
            None => SamplerKind::of(schedule.config()).map_err(|e| Error::format(&file, e))?,
        };
        kind.check(schedule.config()).map_err(|e| Error::format(&file, e))?;
        Ok(kind)
    }

    /// The noise schedule.
    ///
    /// # Errors
    /// It is missing or not supported.
    pub fn schedule(&self) -> Result<Schedule> {
        Schedule::load(&self.part(SCHEDULE)?)
    }
}

/// diffusers' default for the kind of model: of those with pooled text (SDXL), and of the others.
fn guidance_scale(unet: &UnetConfig) -> f64 {
    if unet.added_widths().is_some() { 5.0 } else { 7.5 }
}

/// [`Folders::defaults`] of a folder over a base.
///
/// # Errors
/// A config is missing or not supported.
pub fn read_defaults(folder: &Path, base: Option<&Path>) -> Result<(Defaults, u32)> {
    Folders::new(folder, base).defaults()
}

impl TextToImage {
    /// Loads a model. Parts that `folder` lacks come from `base`.
    ///
    /// # Errors
    /// A part that is missing, damaged or not supported; the message names file and tensor.
    pub fn load(folder: &Path, base: Option<&Path>, device: &Device) -> Result<Self> {
        Self::open(&Folders::new(folder, base), device)
    }

    /// As [`TextToImage::load`].
    ///
    /// # Errors
    /// As [`TextToImage::load`].
    pub fn open(folders: &Folders, device: &Device) -> Result<Self> {
        let (unet, weights) = folders.unet(device)?;
        Ok(Self { weights: Some(weights), ..Self::with_unet(unet, folders, device)? })
    }

    /// As [`TextToImage::load`], with a UNet that is already there (as during training).
    ///
    /// # Errors
    /// As [`TextToImage::load`].
    pub fn with_unet(unet: Unet, folders: &Folders, device: &Device) -> Result<Self> {
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

    /// Exchanges the network that denoises for another of the same shape, as between the steps of a run.
    pub fn set_unet(&mut self, unet: Unet) {
        self.unet = unet;
    }

    /// What it does unless told otherwise.
    #[must_use]
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// Width and height must be multiples of this many pixels.
    #[must_use]
    pub fn size_multiple(&self) -> u32 {
        self.size_multiple
    }

    /// The network that denoises.
    #[must_use]
    pub fn unet(&self) -> &Unet {
        &self.unet
    }

    /// What makes of a text what the network is told.
    #[must_use]
    pub fn text_encoders(&self) -> &TextEncoders {
        &self.text_encoders
    }

    /// One image per prompt, each from its own seed's noise, so that an image does not depend on its batch.
    /// `progress` hears of each step (done, of all) and can stop: then the result is `None`.
    ///
    /// # Errors
    /// A size that does not fit, or candle's.
    pub fn generate(
        &self,
        batch: &[Prompt],
        settings: &Settings,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<Vec<RgbImage>>> {
        if batch.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let mut sources: Vec<Noise> = batch.iter().map(|p| Noise::new(p.seed)).collect();
        let noise = self.draw(&mut sources, self.latent_size(settings)?)?;
        self.generate_from(&noise, batch, settings, progress)
    }

    /// As [`TextToImage::generate`], from given standard normal noise instead of the seeds':
    /// (batch, channels, height, width) in latents.
    ///
    /// # Errors
    /// A size that does not fit, or candle's.
    pub fn generate_from(
        &self,
        noise: &Tensor,
        batch: &[Prompt],
        settings: &Settings,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<Vec<RgbImage>>> {
        self.decoded_from(noise, batch, settings, progress)?.as_ref().map(to_images).transpose()
    }

    /// As [`TextToImage::generate_from`], before the images are rounded: (batch, 3, height, width), from about -1
    /// to 1.
    ///
    /// # Errors
    /// A size that does not fit, or candle's.
    pub fn decoded_from(
        &self,
        noise: &Tensor,
        batch: &[Prompt],
        settings: &Settings,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<Tensor>> {
        let Settings { steps, guidance_scale, sampler, .. } = *settings;
        let [height, width] = self.latent_size(settings)?;
        let shape = [batch.len(), self.unet.config().in_channels, height, width];
        if noise.dims() != shape {
            let problem = format!("has shape {:?} where {shape:?} is needed", noise.dims());
            return Err(Error::setting("noise", problem));
        }
        let sampler = Sampler::new(sampler, &self.schedule, steps as usize)?;
        let guidance = Guidance(guidance_scale);
        let texts = guidance.texts(batch);
        let images = vec![MicroConditioning::whole(settings.height, settings.width); texts.len()];
        let told = self.text_encoders.encode_given(&texts)?.of_images(&images)?;
        let mut denoising = sampler.start(noise)?;
        let mut fresh: Vec<Noise> = batch.iter().map(|p| Noise::stream(p.seed, FRESH_NOISE)).collect();
        for (i, t) in sampler.timesteps().enumerate() {
            let prediction = guidance.predict(&denoising.seen()?, |seen| {
                let timesteps = Tensor::full(t as f32, seen.dim(0)?, &self.device)?;
                self.unet.forward_with(seen, &timesteps, &told.text, told.added.as_ref())
            })?;
            denoising.advance(&prediction, || self.draw(&mut fresh, [height, width]))?;
            if progress(i + 1, sampler.timesteps().len()).is_break() {
                return Ok(None);
            }
        }
        let latents = denoising.latents();
        self.vae.decode(&(latents / self.vae.config().scaling_factor)?).map(Some)
    }

    /// Standard normal latents, (batch, channels, height, width): each image's from its own source.
    fn draw(&self, sources: &mut [Noise], [height, width]: [usize; 2]) -> Result<Tensor> {
        let shape = (1, self.unet.config().in_channels, height, width);
        let noise = sources
            .iter_mut()
            .map(|source| source.normal_tensor(shape, &self.device))
            .collect::<candle_core::Result<Vec<_>>>()?;
        Ok(Tensor::cat(&noise, 0)?)
    }

    /// Height and width in latents.
    fn latent_size(&self, settings: &Settings) -> Result<[usize; 2]> {
        let Settings { width, height, .. } = *settings;
        let multiple = self.size_multiple;
        if width == 0 || height == 0 || width % multiple != 0 || height % multiple != 0 {
            let problem = format!("{width} x {height} pixels: use multiples of {multiple}");
            return Err(Error::setting("size", problem));
        }
        Ok([(height / multiple) as usize, (width / multiple) as usize])
    }
}

/// Images (batch, 3, height, width) from -1 to 1 as 8-bit images.
///
/// # Errors
/// candle's.
pub fn to_images(images: &Tensor) -> Result<Vec<RgbImage>> {
    let (batch, _, height, width) = images.dims4()?;
    let bytes = ((images.to_dtype(DType::F32)?.clamp(-1.0, 1.0)? + 1.0)? * 127.5)?;
    let bytes = bytes.round()?.to_dtype(DType::U8)?.permute((0, 2, 3, 1))?.contiguous()?;
    (0..batch)
        .map(|i| {
            let raw = bytes.get(i)?.flatten_all()?.to_vec1::<u8>()?;
            RgbImage::from_raw(width as u32, height as u32, raw)
                .ok_or_else(|| Error::format(Path::new("image"), "has another size than its bytes"))
        })
        .collect()
}
