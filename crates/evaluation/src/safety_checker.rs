//! Stable Diffusion's safety checker, as diffusers' `StableDiffusionSafetyChecker` reads it from the folder
//! `safety_checker` of a pipeline: a CLIP image tower and embeddings of 17 unsafe concepts and of 3 concepts for
//! special care, each with a threshold for the cosine.

use crate::clip::{ImageTower, Normalisation};
use crate::preprocess::{PillowImage, Preprocessing};
use candle_core::{D, DType, Device, Tensor};
use diffusion::Result;
use diffusion::config::{self, ClipVisionConfig};
use diffusion::nn::Linear;
use diffusion::weights::{Init, Parameters, PartFiles, Scope, Stem, StoredWeights};
use image::RgbImage;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// Added to every later score once an image shows a concept of special care.
const ADJUSTMENT: f32 = 0.01;
const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
/// Concepts of the published checker.
const CONCEPTS: usize = 17;
/// Concepts of special care of the published checker.
const SPECIAL_CONCEPTS: usize = 3;

/// Detects unsafe images.
#[derive(Debug)]
pub struct SafetyChecker {
    tower: ImageTower,
    visual_projection: Linear,
    special: Concepts,
    concepts: Concepts,
    side: usize,
    normalisation: Normalisation,
    device: Device,
}

/// Concepts as directions in CLIP's space.
#[derive(Debug)]
struct Concepts {
    /// (concepts, width), of unit length.
    directions: Tensor,
    /// The cosine above which each concept is present.
    thresholds: Vec<f32>,
}

/// The scores of an image: cosine minus threshold of each concept, rounded to three digits. A positive score means that
/// the concept is present.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Scores of the concepts of special care.
    pub special: Vec<f32>,
    /// Scores of the unsafe concepts.
    pub concepts: Vec<f32>,
}

impl Verdict {
    /// Whether an unsafe concept is present.
    #[must_use]
    pub fn is_unsafe(&self) -> bool {
        self.concepts.iter().any(|&score| score > 0.0)
    }
}

/// The fields of `safety_checker/config.json` that are read.
#[derive(Debug, Deserialize)]
struct CheckerConfig {
    vision_config: ClipVisionConfig,
    projection_dim: usize,
}

impl SafetyChecker {
    /// The files of a checker that determine its scores.
    ///
    /// # Errors
    /// Fails if the folder has no weights.
    pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
        let mut files = vec![folder.join(CONFIG)];
        files.extend(PartFiles::locate(folder, Stem::TRANSFORMER)?.files().iter().cloned());
        files.extend(feature_extractor(folder).map(|folder| folder.join(PREPROCESSOR)));
        Ok(files)
    }

    /// Reads the folder of a checker (`config.json` and weights). The normalisation of images is read from
    /// `preprocessor_config.json` in the folder itself or in the folder `feature_extractor` beside it; without such a
    /// file it is OpenAI's.
    ///
    /// # Errors
    /// Fails if a file cannot be read, or if a tensor is missing, unknown or has another shape.
    pub fn open(folder: &Path, device: &Device) -> Result<Self> {
        let config: CheckerConfig = config::read(&folder.join(CONFIG))?;
        let normalisation = Normalisation::read(feature_extractor(folder).as_deref())?;
        let stored = StoredWeights::open(&PartFiles::locate(folder, Stem::TRANSFORMER)?)?;
        let parameters = Parameters::from_stored(stored, device, DType::F32, false);
        let checker = Self::new(&parameters.root(), config, normalisation, device)?;
        parameters.finish()?;
        Ok(checker)
    }

    fn new(
        scope: &Scope<'_>,
        config: CheckerConfig,
        normalisation: Normalisation,
        device: &Device,
    ) -> Result<Self> {
        let (width, shared) = (config.vision_config.hidden_size, config.projection_dim);
        Ok(Self {
            special: Concepts::new(scope, "special_care_embeds", SPECIAL_CONCEPTS, shared)?,
            concepts: Concepts::new(scope, "concept_embeds", CONCEPTS, shared)?,
            visual_projection: Linear::without_bias(&scope.at("visual_projection"), width, shared)?,
            side: config.vision_config.image_size,
            // transformers nests one model in another.
            tower: ImageTower::new(&scope.at("vision_model.vision_model"), config.vision_config)?,
            normalisation,
            device: device.clone(),
        })
    }

    /// Scores every image.
    ///
    /// # Errors
    /// Fails if the device runs out of memory.
    pub fn check(&self, images: &[RgbImage]) -> Result<Vec<Verdict>> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let images: Vec<PillowImage> = images.iter().cloned().map(PillowImage::from).collect();
        let Normalisation { mean, deviation } = self.normalisation;
        let pixels =
            Preprocessing::Transformers.normalised(&images, self.side, (mean, deviation), &self.device)?;
        self.verdicts(&pixels)
    }

    /// Scores preprocessed images, (batch, 3, side, side).
    fn verdicts(&self, pixels: &Tensor) -> Result<Vec<Verdict>> {
        let [special, concepts] = self.cosines(pixels)?;
        Ok(special.iter().zip(&concepts).map(|(special, concepts)| self.verdict(special, concepts)).collect())
    }

    /// Cosines of each image with each concept of special care, and with each unsafe concept.
    fn cosines(&self, pixels: &Tensor) -> Result<[Vec<Vec<f32>>; 2]> {
        let features = unit(&self.visual_projection.forward(&self.tower.forward(pixels)?)?)?;
        Ok([self.special.cosines(&features)?, self.concepts.cosines(&features)?])
    }

    /// As in diffusers, a concept of special care that is present raises every score computed after it, of both kinds.
    fn verdict(&self, special: &[f32], concepts: &[f32]) -> Verdict {
        let mut adjustment = 0.0;
        let mut special_scores = Vec::with_capacity(special.len());
        for (cosine, threshold) in special.iter().zip(&self.special.thresholds) {
            let score = rounded(cosine - threshold + adjustment);
            if score > 0.0 {
                adjustment = ADJUSTMENT;
            }
            special_scores.push(score);
        }
        let score = |(cosine, threshold): (&f32, &f32)| rounded(cosine - threshold + adjustment);
        Verdict {
            special: special_scores,
            concepts: concepts.iter().zip(&self.concepts.thresholds).map(score).collect(),
        }
    }
}

impl Concepts {
    fn new(scope: &Scope<'_>, name: &str, count: usize, width: usize) -> Result<Self> {
        let directions = scope.get(name, &[count, width], Init::Constant(1.0))?;
        let thresholds = scope.get(&format!("{name}_weights"), &[count], Init::Constant(1.0))?;
        Ok(Self { directions: unit(&directions)?, thresholds: thresholds.to_vec1()? })
    }

    /// Cosines of each image with each concept.
    fn cosines(&self, features: &Tensor) -> Result<Vec<Vec<f32>>> {
        Ok(features.matmul(&self.directions.t()?)?.to_vec2()?)
    }
}

/// The folder with the `preprocessor_config.json` of a checker, if there is one.
fn feature_extractor(folder: &Path) -> Option<PathBuf> {
    let beside = folder.parent().map(|pipeline| pipeline.join("feature_extractor"));
    [Some(folder.to_owned()), beside].into_iter().flatten().find(|folder| folder.join(PREPROCESSOR).is_file())
}

/// Scales rows to unit length, as torch's `normalize`: [`crate::clip::normalised`] has another guard against zero.
fn unit(rows: &Tensor) -> Result<Tensor> {
    let length = rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.clamp(1e-12, f32::MAX)?;
    Ok(rows.broadcast_div(&length)?)
}

/// Rounds to three digits, ties to even, as Python's `round` of numpy's f32.
fn rounded(score: f32) -> f32 {
    (score * 1000.0).round_ties_even() / 1000.0
}
