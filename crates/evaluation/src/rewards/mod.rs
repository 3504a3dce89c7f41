//! The field's reward models, each read from the file that its authors published, with its own preparation of images,
//! cleaning of texts and scale. What each number is stands in [`RewardKind::statement`].

mod aesthetic;
mod backbone;
mod clip;
mod image_reward;
mod naming;
mod weights;

pub use backbone::Backbone;

use crate::preprocess::Image;
use aesthetic::Aesthetic;
use candle_core::Device;
use clip::ClipReward;
use diffusion::{Error, Result};
use image_reward::ImageReward;
use std::borrow::Borrow;
use std::path::PathBuf;

/// Which reward model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RewardKind {
    /// HPSv2 v2.0, the version of most papers and of `hpsv2.score`'s default.
    HpsV20,
    /// HPSv2 v2.1, the default of `hpsv2.evaluate`. Its figures do not compare with v2.0's.
    HpsV21,
    /// PickScore v1.
    PickScore,
    /// LAION's improved aesthetic predictor (sac+logos+ava1-l14-linearMSE).
    Aesthetic,
    /// CLIP score by OpenCLIP's ViT-H/14.
    ClipScoreH14,
    /// CLIP score by OpenAI's ViT-L/14.
    ClipScoreL14,
    /// ImageReward v1.0.
    ImageReward,
}

impl RewardKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::HpsV20,
        Self::HpsV21,
        Self::PickScore,
        Self::Aesthetic,
        Self::ClipScoreH14,
        Self::ClipScoreL14,
        Self::ImageReward,
    ];

    /// The word for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HpsV20 => "hps_v2_0",
            Self::HpsV21 => "hps_v2_1",
            Self::PickScore => "pick_score",
            Self::Aesthetic => "aesthetic",
            Self::ClipScoreH14 => "clip_score_h14",
            Self::ClipScoreL14 => "clip_score_l14",
            Self::ImageReward => "image_reward",
        }
    }

    /// What the number is: backbone, scale, clamp.
    #[must_use]
    pub fn statement(self) -> &'static str {
        match self {
            Self::HpsV20 => {
                "HPSv2 v2.0 (ViT-H/14): 100 x cosine of image and prompt in f32, not clamped; longer side resized as \
                 a tensor, black border. The package's score() is the hundredth of it"
            }
            Self::HpsV21 => {
                "HPSv2 v2.1 (ViT-H/14): 100 x cosine of image and prompt in f32, not clamped; longer side resized as \
                 a tensor, black border. Not comparable with v2.0"
            }
            Self::PickScore => {
                "PickScore v1 (ViT-H/14): 100 x cosine of image and prompt, not clamped; the package multiplies by \
                 exp(logit_scale) of the file, which is about 100"
            }
            Self::Aesthetic => {
                "LAION improved aesthetic predictor, linearMSE on OpenAI ViT-L/14: about 1 to 10, not clamped; the \
                 prompt is not looked at"
            }
            Self::ClipScoreH14 => {
                "CLIP score: cosine by OpenCLIP ViT-H/14 laion2B-s32B-b79K, neither scaled nor clamped; images \
                 prepared as HPSv2's"
            }
            Self::ClipScoreL14 => {
                "CLIP score: cosine by OpenAI ViT-L/14, neither scaled nor clamped; images prepared as OpenAI's"
            }
            Self::ImageReward => {
                "ImageReward v1.0: standardised, so that 0 is the mean and 1 a deviation of its training images; \
                 not clamped"
            }
        }
    }

    /// Whether a score depends on the prompt.
    #[must_use]
    pub fn reads_prompt(self) -> bool {
        self != Self::Aesthetic
    }
}

impl std::str::FromStr for RewardKind {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|k| k.as_str() == s)
            .ok_or_else(|| format!("{s:?} is no reward model: use {}", names()))
    }
}

/// The files that a reward model needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RewardFiles {
    /// Its published weights: a file, or a folder that has them under their usual name.
    pub weights: PathBuf,
    /// The vocabulary. CLIP's: `bpe_simple_vocab_16e6.txt.gz` or a folder with `vocab.json` and `merges.txt` (PickScore
    /// needs the folder). ImageReward: `vocab.txt` of bert-base-uncased. The aesthetic predictor has none.
    pub vocabulary: Option<PathBuf>,
    /// Only for the aesthetic predictor: the weights of OpenAI's ViT-L/14, on which it stands.
    pub backbone: Option<PathBuf>,
}

/// A reward model, ready to score.
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

/// Images that go through a network together.
const BATCH: usize = 16;

impl Reward {
    /// Reads a reward model's files.
    ///
    /// # Errors
    /// A file that is not there or not what it should be, with its name.
    pub fn open(kind: RewardKind, files: &RewardFiles, device: &Device) -> Result<Self> {
        let model = match kind {
            RewardKind::Aesthetic => Model::Aesthetic(Box::new(Aesthetic::open(
                &files.weights,
                needed(&files.backbone, "backbone", "name the weights of OpenAI's ViT-L/14")?,
                device,
            )?)),
            RewardKind::ImageReward => Model::ImageReward(Box::new(ImageReward::open(
                &files.weights,
                needed(&files.vocabulary, "vocabulary", "name vocab.txt of bert-base-uncased")?,
                device,
            )?)),
            kind => {
                let remedy = "name bpe_simple_vocab_16e6.txt.gz, or a folder with vocab.json and merges.txt";
                let vocabulary = needed(&files.vocabulary, "vocabulary", remedy)?;
                Model::Clip(Box::new(ClipReward::open(kind, &files.weights, vocabulary, device)?))
            }
        };
        let mut sha256 = weights::sha256(&weights::file_of(&files.weights)?)?;
        if let (RewardKind::Aesthetic, Some(backbone)) = (kind, &files.backbone) {
            sha256.push_str(&weights::sha256(&weights::file_of(backbone)?)?);
        }
        Ok(Self { kind, model, sha256, batch: BATCH })
    }

    /// The same with another number of images that go through a network together. It changes speed and memory only.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// The same with images resized with antialiasing, as torchvision does by itself since 0.17. Without this it is the
    /// older way, in which the published figures were made.
    ///
    /// # Errors
    /// It resizes as Pillow does, which always antialiases.
    pub fn with_antialias(mut self) -> Result<Self> {
        match &mut self.model {
            Model::Clip(clip) if clip.antialias().is_some() => clip.set_antialias(),
            _ => {
                return Err(Error::Setting {
                    field: "antialias",
                    problem: format!("{} knows one way to resize: leave it out", self.kind.as_str()),
                });
            }
        }
        Ok(self)
    }

    /// Whether it antialiases, where there is a choice.
    fn antialias(&self) -> Option<bool> {
        match &self.model {
            Model::Clip(clip) => clip.antialias(),
            _ => None,
        }
    }

    /// What the number is ([`RewardKind::statement`]), how its images are resized where there is a choice, and by which
    /// weights.
    #[must_use]
    pub fn statement(&self) -> String {
        let way = match self.antialias() {
            Some(true) => "; resized with antialiasing",
            Some(false) => "; resized without antialiasing",
            None => "",
        };
        format!("{}{way}. Weights {}", self.kind.statement(), self.sha256)
    }

    /// Which it is and how it resizes, as a part of file names.
    pub(crate) fn identity(&self) -> String {
        let way = if self.antialias() == Some(true) { "-antialias" } else { "" };
        format!("{}{way}", self.kind.as_str())
    }

    /// Which it is.
    #[must_use]
    pub fn kind(&self) -> RewardKind {
        self.kind
    }

    /// SHA-256 of the weights, in hexadecimal; two where there are two files.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What the package multiplies a cosine by before a softmax, where the model has such a number: exp(logit_scale).
    ///
    /// # Errors
    /// candle's.
    pub fn logit_scale(&self) -> Result<Option<f32>> {
        match &self.model {
            Model::Clip(clip) => clip.logit_scale().map(Some),
            _ => Ok(None),
        }
    }

    /// The score of each image with its own prompt.
    ///
    /// # Errors
    /// Not as many prompts as images, an image that cannot be prepared, or candle's.
    pub fn scores<P: Borrow<Image> + Sync>(&self, images: &[P], prompts: &[&str]) -> Result<Vec<f32>> {
        if images.len() != prompts.len() {
            return Err(Error::Setting {
                field: "prompts",
                problem: format!("{} prompts for {} images: give each its own", prompts.len(), images.len()),
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

    /// What the score is made of, for those who compare implementations: a row per image. CLIP's: the normalised
    /// features of image and prompt, side by side. The aesthetic predictor's: the image's. ImageReward's: the state
    /// that its head reads.
    ///
    /// # Errors
    /// As for the scores.
    pub fn features<P: Borrow<Image> + Sync>(&self, images: &[P], prompts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let features = match &self.model {
            Model::Clip(clip) => clip.features(images, prompts)?,
            Model::Aesthetic(aesthetic) => aesthetic.features(images)?,
            Model::ImageReward(reward) => reward.features(images, prompts)?,
        };
        Ok(features.to_vec2()?)
    }
}

fn needed<'a>(path: &'a Option<PathBuf>, field: &'static str, remedy: &str) -> Result<&'a PathBuf> {
    path.as_ref().ok_or_else(|| Error::Setting { field, problem: remedy.to_owned() })
}

/// The different ones among `prompts`, and which of them each is: a prompt with many images is read once.
fn distinct<'a>(prompts: &[&'a str]) -> (Vec<&'a str>, Vec<u32>) {
    let mut different: Vec<&str> = Vec::new();
    let mut which = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let known = different.iter().position(|p| p == prompt);
        which.push(known.unwrap_or(different.len()) as u32);
        if known.is_none() {
            different.push(prompt);
        }
    }
    (different, which)
}
