//! Stable Diffusion's safety checker: whether an image shows what its authors' pipelines black out. A CLIP image
//! tower, and directions in its space that stand for 17 concepts and 3 that call for special care, each with a
//! threshold of the cosine (diffusers' `StableDiffusionSafetyChecker`, from a pipeline's `safety_checker/`).

use crate::clip::{ImageTower, Normalisation};
use crate::preprocess::{Image, Preprocessing};
use candle_core::{D, DType, Device, Tensor};
use diffusion::config::{self, ClipVisionConfig};
use diffusion::nn::Linear;
use diffusion::weights::{Init, Parameters, Scope};
use diffusion::{Error, Result};
use image::RgbImage;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What an image of special care adds to every later score.
const ADJUSTMENT: f32 = 0.01;
/// The files of a checker's folder, and the one that says how images are prepared for it.
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const PREPROCESSOR: &str = "preprocessor_config.json";
/// As published.
const CONCEPTS: usize = 17;
const SPECIAL_CONCEPTS: usize = 3;

/// The checker.
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

/// Directions of unit length, (concepts, width), and the cosine above which each is present.
#[derive(Debug)]
struct Concepts {
    directions: Tensor,
    thresholds: Vec<f32>,
}

/// What the checker says of an image. Scores are cosines above the thresholds, rounded to three digits.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Of the concepts that call for special care.
    pub special: Vec<f32>,
    /// Of the concepts themselves.
    pub concepts: Vec<f32>,
}

impl Verdict {
    /// Whether the image is to be kept from people.
    #[must_use]
    pub fn is_unsafe(&self) -> bool {
        self.concepts.iter().any(|&score| score > 0.0)
    }
}

/// `safety_checker/config.json`, as far as it matters.
#[derive(Debug, Deserialize)]
struct CheckerConfig {
    vision_config: ClipVisionConfig,
    projection_dim: usize,
}

impl SafetyChecker {
    /// The files that decide what the checker of a folder says.
    #[must_use]
    pub fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files = vec![folder.join(CONFIG), folder.join(WEIGHTS)];
        files.extend(feature_extractor(folder).map(|folder| folder.join(PREPROCESSOR)));
        files
    }

    /// Reads a checker's folder as pipelines have it: how images are prepared lies in the folder itself, or in the
    /// folder `feature_extractor` beside it.
    ///
    /// # Errors
    /// As for [`SafetyChecker::load`].
    pub fn open(folder: &Path, device: &Device) -> Result<Self> {
        Self::load(folder, feature_extractor(folder).as_deref(), device)
    }

    /// Reads a checker's folder (`config.json`, `model.safetensors`), and how images are prepared from the
    /// `preprocessor_config.json` of `feature_extractor` where there is one.
    ///
    /// # Errors
    /// A file that cannot be read, or a tensor that is missing, extra or misshapen.
    pub fn load(folder: &Path, feature_extractor: Option<&Path>, device: &Device) -> Result<Self> {
        let config: CheckerConfig = config::read(&folder.join(CONFIG))?;
        let weights = folder.join(WEIGHTS);
        if !weights.is_file() {
            let problem = "is not there: the folder needs the safety checker's weights".to_owned();
            return Err(Error::Format { file: weights, problem });
        }
        let normalisation = Normalisation::read(feature_extractor)?;
        let parameters = Parameters::open(&weights, device, DType::F32, false)?;
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
            // A model within a model, in transformers' classes.
            tower: ImageTower::new(&scope.at("vision_model.vision_model"), config.vision_config)?,
            normalisation,
            device: device.clone(),
        })
    }

    /// What it says of each image.
    ///
    /// # Errors
    /// candle's.
    pub fn check(&self, images: &[RgbImage]) -> Result<Vec<Verdict>> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let images: Vec<Image> = images.iter().cloned().map(Image::from).collect();
        let Normalisation { mean, deviation } = self.normalisation;
        let pixels =
            Preprocessing::Transformers.normalised(&images, self.side, (mean, deviation), &self.device)?;
        self.verdicts(&pixels)
    }

    /// As [`SafetyChecker::check`], of images that are prepared: (batch, 3, side, side), normalised.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn verdicts(&self, pixels: &Tensor) -> Result<Vec<Verdict>> {
        let [special, concepts] = self.cosines(pixels)?;
        Ok(special.iter().zip(&concepts).map(|(special, concepts)| self.verdict(special, concepts)).collect())
    }

    /// Of each image with each concept: those that call for special care, and the others.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn cosines(&self, pixels: &Tensor) -> Result<[Vec<Vec<f32>>; 2]> {
        let features = unit(&self.visual_projection.forward(&self.tower.forward(pixels)?)?)?;
        Ok([self.special.cosines(&features)?, self.concepts.cosines(&features)?])
    }

    /// diffusers' logic: whatever is of special care adds to every score after it, of either kind.
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

    /// Of each image with each concept.
    fn cosines(&self, features: &Tensor) -> Result<Vec<Vec<f32>>> {
        Ok(features.matmul(&self.directions.t()?)?.to_vec2()?)
    }
}

/// The folder of a checker's `preprocessor_config.json`, if there is one.
fn feature_extractor(folder: &Path) -> Option<PathBuf> {
    let beside = folder.parent().map(|pipeline| pipeline.join("feature_extractor"));
    [Some(folder.to_owned()), beside].into_iter().flatten().find(|folder| folder.join(PREPROCESSOR).is_file())
}

/// Rows scaled to length 1, as torch's `normalize`.
fn unit(rows: &Tensor) -> Result<Tensor> {
    let length = rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.clamp(1e-12, f32::MAX)?;
    Ok(rows.broadcast_div(&length)?)
}

/// To three digits, halves to even: Python's `round` of numpy's f32.
fn rounded(score: f32) -> f32 {
    (score * 1000.0).round_ties_even() / 1000.0
}
