//! CLIP, which maps images and texts to vectors of one space, from a folder in the layout of transformers or OpenCLIP.

pub mod files;
pub(crate) mod naming;
mod normalisation;
mod open_clip;
mod towers;

pub(crate) use normalisation::Normalisation;
pub(crate) use towers::ImageTower;
pub use towers::Towers;

use crate::preprocess::{PillowImage, Preprocessing};
use crate::text::{OpenClipTokenizer, SpecialNames};
use candle_core::{D, DType, Device, Tensor};
use diffusion::Result;
use diffusion::config::{self, ClipConfig};
use diffusion::tokenizer::Tokenizer;
use diffusion::weights::{Parameters, PartFiles, Stem, StoredWeights};
use files::ClipFiles;
use image::RgbImage;
use std::path::Path;

/// A CLIP model with its tokenizer and preprocessing.
#[derive(Debug)]
pub struct Clip {
    towers: Towers,
    tokenizer: PromptTokenizer,
    preprocessing: Preprocessing,
    normalisation: Normalisation,
    device: Device,
}

/// The tokenizer of the package whose layout the folder has.
#[derive(Debug)]
enum PromptTokenizer {
    Transformers(Box<Tokenizer>),
    OpenClip(OpenClipTokenizer),
}

impl PromptTokenizer {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match self {
            Self::Transformers(tokenizer) => tokenizer.encode(text),
            Self::OpenClip(tokenizer) => tokenizer.encode(text),
        }
    }
}

impl Clip {
    /// Reads a folder in the layout of transformers (`config.json`, weights, `vocab.json`, `merges.txt` and optionally
    /// `preprocessor_config.json`) or of OpenCLIP (`open_clip_config.json`, weights and vocabulary).
    ///
    /// # Errors
    /// Fails if a file is missing or damaged.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        match ClipFiles::locate(folder)? {
            ClipFiles::Transformers { .. } => Self::of_transformers(folder, device),
            ClipFiles::OpenClip { config, weights, .. } => {
                let (towers, normalisation) = open_clip::open(&config, &weights, device)?;
                let tokenizer = OpenClipTokenizer::open(folder, SpecialNames::OpenClip)?;
                let tokenizer = PromptTokenizer::OpenClip(tokenizer);
                let preprocessing = Preprocessing::OpenAi;
                Ok(Self { towers, tokenizer, preprocessing, normalisation, device: device.clone() })
            }
        }
    }

    fn of_transformers(folder: &Path, device: &Device) -> Result<Self> {
        let config: ClipConfig = config::read(&folder.join(files::CONFIG))?;
        let stored = StoredWeights::open(&PartFiles::locate(folder, Stem::TRANSFORMER)?)?;
        let (towers, _) = Parameters::from_stored(stored, device, DType::F32, false)
            .build(|scope| Towers::new(scope, config.clone()))?;
        let tokenizer = PromptTokenizer::Transformers(Box::new(Tokenizer::load(folder)?));
        let normalisation = Normalisation::read(Some(folder))?;
        let preprocessing = Preprocessing::Transformers;
        Ok(Self { towers, tokenizer, preprocessing, normalisation, device: device.clone() })
    }

    /// Features of images, (images, shared width), scaled to unit length. Images are preprocessed as by the package whose
    /// layout the folder has.
    ///
    /// # Errors
    /// Fails if the device runs out of memory.
    pub fn image_features(&self, images: &[RgbImage]) -> Result<Tensor> {
        let images: Vec<PillowImage> = images.iter().cloned().map(PillowImage::from).collect();
        let side = self.towers.image_size();
        let Normalisation { mean, deviation } = self.normalisation;
        let pixels = self.preprocessing.normalised(&images, side, (mean, deviation), &self.device)?;
        normalised(&self.towers.image_features(&pixels)?)
    }

    /// Features of texts, (texts, shared width), scaled to unit length.
    ///
    /// # Errors
    /// Fails if the tokenizer does or the device runs out of memory.
    pub fn text_features(&self, texts: &[&str]) -> Result<Tensor> {
        let mut ids = texts.iter().map(|text| self.tokenizer.encode(text)).collect::<Result<Vec<_>>>()?;
        // Pads texts of different lengths. The causal text tower does not see what follows the end token.
        let longest = ids.iter().map(Vec::len).max().unwrap_or(0);
        ids.iter_mut().for_each(|ids| ids.resize(longest, 0));
        normalised(&self.towers.text_features(&ids)?.1)
    }

    /// The CLIP score of each image and the text of the same index: their cosine, neither scaled nor clamped.
    ///
    /// # Errors
    /// Fails if there are more or fewer images than texts, or as [`Self::text_features`].
    pub fn scores(&self, images: &[RgbImage], texts: &[&str]) -> Result<Vec<f32>> {
        let product = (self.image_features(images)? * self.text_features(texts)?)?;
        Ok(product.sum(D::Minus1)?.to_vec1()?)
    }
}

/// Scales rows to unit length.
///
/// # Errors
/// Fails if `features` is not of floating point or the device runs out of memory.
pub fn normalised(features: &Tensor) -> Result<Tensor> {
    let length = (features.sqr()?.sum_keepdim(D::Minus1)? + 1e-12)?.sqrt()?;
    Ok(features.broadcast_div(&length)?)
}
