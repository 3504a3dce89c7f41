//! A reward model with its files, ready to score.

use super::aesthetic::Aesthetic;
use super::clip::ClipReward;
use super::image_reward::ImageReward;
use super::kind::RewardKind;
use crate::preprocess::PillowImage;
use crate::weights;
use candle_core::Device;
use diffusion::{Error, Result};
use std::borrow::Borrow;
use std::path::PathBuf;

/// The files of a reward model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RewardFiles {
    /// The published weights: a file, or a folder that contains them under their published name.
    pub weights: PathBuf,
    /// The vocabulary. For CLIP, `bpe_simple_vocab_16e6.txt.gz` or a folder with `vocab.json` and `merges.txt`
    /// (PickScore needs the folder). For ImageReward, `vocab.txt` of bert-base-uncased. The aesthetic predictor has
    /// none.
    pub vocabulary: Option<PathBuf>,
    /// The weights of OpenAI's ViT-L/14, for the aesthetic predictor only.
    pub backbone: Option<PathBuf>,
}

/// A reward model.
#[derive(Debug)]
pub struct Reward {
    kind: RewardKind,
    model: Model,
    sha256: String,
    batch: usize,
}

#[derive(Debug)]
enum Model {
    Clip(Box<ClipReward>),
    Aesthetic(Box<Aesthetic>),
    ImageReward(Box<ImageReward>),
}

/// The default number of images per forward pass.
const BATCH: usize = 16;

impl Reward {
    /// Reads the files of a reward model.
    ///
    /// # Errors
    /// Fails if a file is missing from `files`, cannot be read, or is not that of this model.
    pub fn open(kind: RewardKind, files: &RewardFiles, device: &Device) -> Result<Self> {
        let model = match kind {
            RewardKind::Aesthetic => Model::Aesthetic(Box::new(Aesthetic::open(
                &files.weights,
                required(&files.backbone, "backbone", "set it to the weights of OpenAI's ViT-L/14")?,
                device,
            )?)),
            RewardKind::ImageReward => Model::ImageReward(Box::new(ImageReward::open(
                &files.weights,
                required(&files.vocabulary, "vocabulary", "set it to vocab.txt of bert-base-uncased")?,
                device,
            )?)),
            kind => {
                let remedy =
                    "set it to bpe_simple_vocab_16e6.txt.gz, or to a folder with vocab.json and merges.txt";
                let vocabulary = required(&files.vocabulary, "vocabulary", remedy)?;
                Model::Clip(Box::new(ClipReward::open(kind, &files.weights, vocabulary, device)?))
            }
        };
        let mut sha256 = weights::sha256(&files.weights)?;
        if let (RewardKind::Aesthetic, Some(backbone)) = (kind, &files.backbone) {
            sha256.push_str(&weights::sha256(backbone)?);
        }
        Ok(Self { kind, model, sha256, batch: BATCH })
    }

    /// Sets the number of images per forward pass, which changes speed and memory.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// Resizes images with antialiasing, the default of torchvision since 0.17. Without this call images are resized
    /// without it, as for the published figures.
    ///
    /// # Errors
    /// Fails if the model resizes images with Pillow, which always antialiases.
    pub fn with_antialias(mut self) -> Result<Self> {
        match &mut self.model {
            Model::Clip(clip) if clip.antialias().is_some() => clip.set_antialias(),
            _ => {
                return Err(Error::Setting {
                    field: "antialias",
                    problem: format!("{} always resizes with antialiasing: leave it out", self.kind.as_str()),
                });
            }
        }
        Ok(self)
    }

    /// Whether resizing antialiases; `None` if the model has no choice.
    fn antialias(&self) -> Option<bool> {
        match &self.model {
            Model::Clip(clip) => clip.antialias(),
            _ => None,
        }
    }

    /// What the score is ([`RewardKind::statement`]), whether resizing antialiases, and the SHA-256 of the weights.
    #[must_use]
    pub fn statement(&self) -> String {
        let resizing = match self.antialias() {
            Some(true) => "; resized with antialiasing",
            Some(false) => "; resized without antialiasing",
            None => "",
        };
        format!("{}{resizing}. Weights {}", self.kind.statement(), self.sha256)
    }

    /// Model and resizing, as a part of file names.
    pub(crate) fn identity(&self) -> String {
        let resizing = if self.antialias() == Some(true) { "-antialias" } else { "" };
        format!("{}{resizing}", self.kind.as_str())
    }

    pub(crate) fn kind(&self) -> RewardKind {
        self.kind
    }

    /// SHA-256 of the weights in hexadecimal; for two files, both digests one after the other.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Scores each image with the prompt of the same index.
    ///
    /// # Errors
    /// Fails if there are more or fewer prompts than images, an image is too narrow to be resized, or the device runs
    /// out of memory.
    pub fn scores<P: Borrow<PillowImage> + Sync>(&self, images: &[P], prompts: &[&str]) -> Result<Vec<f32>> {
        if images.len() != prompts.len() {
            return Err(Error::Setting {
                field: "prompts",
                problem: format!("{} prompts for {} images: give one per image", prompts.len(), images.len()),
            });
        }
        let mut scores = Vec::with_capacity(images.len());
        for (images, prompts) in images.chunks(self.batch).zip(prompts.chunks(self.batch)) {
            scores.extend(match &self.model {
                Model::Clip(clip) => clip.scores(images, prompts)?,
                Model::Aesthetic(aesthetic) => aesthetic.scores(images)?,
                Model::ImageReward(reward) => reward.scores(images, prompts)?,
            });
        }
        Ok(scores)
    }

    /// The features that scores are computed from, one row per image. For CLIP, the normalised features of image and
    /// prompt, concatenated; for the aesthetic predictor, those of the image; for ImageReward, the input of its head.
    #[cfg(test)]
    pub(super) fn features<P: Borrow<PillowImage> + Sync>(
        &self,
        images: &[P],
        prompts: &[&str],
    ) -> Result<Vec<Vec<f32>>> {
        let features = match &self.model {
            Model::Clip(clip) => clip.features(images, prompts)?,
            Model::Aesthetic(aesthetic) => aesthetic.features(images)?,
            Model::ImageReward(reward) => reward.features(images, prompts)?,
        };
        Ok(features.to_vec2()?)
    }
}

fn required<'a>(path: &'a Option<PathBuf>, field: &'static str, remedy: &str) -> Result<&'a PathBuf> {
    path.as_ref().ok_or_else(|| Error::Setting { field, problem: remedy.to_owned() })
}
