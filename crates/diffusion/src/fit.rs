//! Whether the parts of a model belong together: channels of UNet and autoencoder, widths of UNet and text encoders, and what a
//! policy and its reference predict. Judged by configs, names and shapes, before any weights are read.

use crate::conditioning::TIME_IDS;
use crate::config::{self, ClipTextConfig, UnetConfig, VaeConfig};
use crate::lora::{Layers, check_for_unet};
use crate::part_folders::PartFolders;
use crate::schedule::Schedule;
use crate::unet::Unet;
use crate::weights::parameter_shapes;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

impl PartFolders {
    /// Checks that the model draws images from text alone, with parts that fit together, its adapters included.
    ///
    /// # Errors
    /// Fails if a config cannot be read, or two parts do not fit. The message names both.
    pub fn check_fit(&self) -> Result<()> {
        let (file, unet) = self.unet_config()?;
        channels(&unet, &self.vae_config()?).map_err(|problem| Error::format(&file, problem))?;
        self.check_text_and_adapters(&file, unet)
    }

    /// Whether the model edits images by instructions (InstructPix2Pix): its UNet takes an image's latents beside the noisy ones.
    /// Otherwise it has to draw from text alone ([`PartFolders::check_fit`]). The text encoders and adapters of an editing model
    /// are checked.
    ///
    /// # Errors
    /// Fails if a config cannot be read, or the parts of an editing model do not fit. The message names both.
    pub fn is_editor(&self) -> Result<bool> {
        let ((file, unet), latents) = (self.unet_config()?, self.vae_config()?.latent_channels);
        if unet.in_channels != 2 * latents || unet.out_channels != latents {
            return Ok(false);
        }
        self.check_text_and_adapters(&file, unet).map(|()| true)
    }

    fn check_text_and_adapters(&self, file: &Path, unet: UnetConfig) -> Result<()> {
        if let Some(widths) = self.text_widths()? {
            text(&unet, widths).map_err(|problem| Error::format(file, problem))?;
        }
        let adapters = self.adapters();
        if adapters.is_empty() {
            return Ok(());
        }
        let shapes = parameter_shapes(|scope| Unet::new(scope, unet).map(drop))?;
        let layers = Layers::of_shapes(shapes.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())));
        adapters.iter().try_for_each(|file| check_for_unet(file, &layers))
    }

    /// Checks that `reference` can be compared with this model: its UNet takes and gives the same, and its noise schedule is the
    /// same.
    ///
    /// # Errors
    /// Fails if a config cannot be read, or the two differ. The message names both.
    pub fn check_reference(&self, reference: &Self) -> Result<()> {
        let ((ours, base), (theirs, other)) = (self.unet_config()?, reference.unet_config()?);
        let widths = |unet: &UnetConfig| unet.added_widths().map_or(0, |(_, all)| all);
        for (field, base, other) in [
            ("in_channels", base.in_channels, other.in_channels),
            ("out_channels", base.out_channels, other.out_channels),
            ("cross_attention_dim", base.cross_attention_dim, other.cross_attention_dim),
            ("projection_class_embeddings_input_dim", widths(&base), widths(&other)),
        ] {
            if base != other {
                let problem = format!(
                    "{field}: the reference's is {other}, but that of the base ({}) is {base}: they are models of different \
                     families, and the reference must be of the base's",
                    ours.display()
                );
                return Err(Error::format(&theirs, problem));
            }
        }
        let (schedule, other) = (self.schedule()?, reference.schedule()?);
        match difference(&other, &schedule) {
            None => Ok(()),
            Some(problem) => Err(Error::format(
                &reference.part(crate::layout::SCHEDULE)?,
                format!("the reference {problem}: policy and reference need the same noise schedule"),
            )),
        }
    }

    fn vae_config(&self) -> Result<VaeConfig> {
        VaeConfig::read(&self.part("vae")?.join("config.json"))
    }

    fn unet_config(&self) -> Result<(PathBuf, UnetConfig)> {
        let folder = self.part("unet")?;
        let config = Unet::config_of(&folder)?;
        Ok((folder.join("config.json"), config))
    }

    /// The widths of the text encoders' states and of pooled text (0 with one encoder); `None` without a text encoder.
    fn text_widths(&self) -> Result<Option<[usize; 2]>> {
        let read = |part: &str| -> Result<Option<ClipTextConfig>> {
            self.part(part).ok().map(|folder| config::read(&folder.join("config.json"))).transpose()
        };
        let Some(first) = read("text_encoder")? else { return Ok(None) };
        Ok(Some(match read("text_encoder_2")? {
            None => [first.hidden_size, 0],
            Some(second) => [first.hidden_size + second.hidden_size, second.projection_dim],
        }))
    }
}

/// Checks that a UNet denoises the latents of an autoencoder and nothing else.
fn channels(unet: &UnetConfig, vae: &VaeConfig) -> Result<(), String> {
    let (takes, gives, latents) = (unet.in_channels, unet.out_channels, vae.latent_channels);
    if takes != latents {
        let kind = match takes.checked_sub(latents) {
            Some(5) => "an inpainting model draws nothing from text alone",
            Some(1) => "a model that takes a depth map draws nothing from text alone",
            Some(3) => "an upscaler draws nothing from text alone",
            Some(more) if more == latents => {
                "an editing model (InstructPix2Pix, for `style`) draws nothing from text alone"
            }
            _ => "the UNet and the autoencoder belong to different models",
        };
        return Err(format!(
            "in_channels: takes {takes} channels: {kind}; the latents of the autoencoder have {latents} channels"
        ));
    }
    if gives != latents {
        return Err(format!(
            "out_channels: gives {gives} channels, and the autoencoder's latents have {latents}: the UNet belongs to another kind \
             of model"
        ));
    }
    Ok(())
}

/// Checks that text encoders with these widths of states and of pooled text (0 with one encoder) fit a UNet.
///
/// # Errors
/// Returns what does not fit, for example for a UNet of SDXL with text encoders of SD 1.5.
pub(crate) fn text(unet: &UnetConfig, [width, pooled]: [usize; 2]) -> Result<(), String> {
    let encoders = if pooled == 0 { "one text encoder" } else { "two text encoders" };
    if width != unet.cross_attention_dim {
        return Err(format!(
            "cross_attention_dim: is {}, but the model's {encoders} produce states of width {width}: the UNet \
             belongs to another kind of model and needs that as its base",
            unet.cross_attention_dim
        ));
    }
    match unet.added_widths() {
        None if pooled == 0 => Ok(()),
        Some((each, all)) if pooled > 0 && TIME_IDS * each + pooled == all => Ok(()),
        None => Err(format!(
            "addition_embed_type: is null, but the model has {encoders}: the UNet needs a base with one"
        )),
        Some(_) if pooled == 0 => Err(format!(
            "addition_embed_type: text_time needs the pooled text of text_encoder_2, but the model has {encoders}"
        )),
        Some((each, all)) => Err(format!(
            "projection_class_embeddings_input_dim: is {all}, but {TIME_IDS} time ids of width {each} and pooled text \
             of width {pooled} make {}",
            TIME_IDS * each + pooled
        )),
    }
}

/// The first property in which `other`'s noise schedule differs from the model's.
#[must_use]
pub fn difference(other: &Schedule, model: &Schedule) -> Option<String> {
    if other.prediction() != model.prediction() {
        let (ours, theirs) = (model.prediction(), other.prediction());
        return Some(format!("predicts {theirs:?}, but the model predicts {ours:?}"));
    }
    if other.timesteps() != model.timesteps() {
        let (ours, theirs) = (model.timesteps(), other.timesteps());
        return Some(format!("has {theirs} timesteps, but the model has {ours}"));
    }
    // Where neither keeps any signal, the ratio is not a number.
    let differs = |&t: &usize| (other.alpha_bar(t) / model.alpha_bar(t) - 1.0).abs() > 1e-9;
    let t = (0..model.timesteps()).find(differs)?;
    let (ours, theirs) = (model.alpha_bar(t), other.alpha_bar(t));
    Some(format!(
        "keeps a share {theirs} of the signal's variance at timestep {t}, but the model keeps {ours}"
    ))
}
