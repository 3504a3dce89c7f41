//! What a training run is asked to do: the same type is config file, request body, column and checkpoint manifest.

mod images;
mod memory;
mod precision;

pub use crate::data::{DataSpec, ShapesSet};
use crate::lora::LoraSpec;
use crate::prepare::{Crop, ImageSpec};
use crate::problem::Problems;
pub use images::{HorizontalFlip, MicroConditioningSpec};
pub use memory::MemorySpec;
pub use precision::{Moments, Precision};
use serde::{Deserialize, Serialize};

/// The largest seed: 2^53 - 1, the largest integer every JSON client keeps exactly.
pub const MAX_SEED: u64 = (1 << 53) - 1;

/// A training run.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// Name of the run and of the model it makes: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// The start checkpoint: a model's name, or a folder in diffusers layout.
    pub base: String,
    /// Draw the UNet's weights anew instead of reading the start checkpoint's, whose configs still count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_nothing: bool,
    /// The frozen reference of a preference objective; the start checkpoint when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Train an adapter over the frozen start checkpoint, which is then the reference too unless another is named;
    /// all weights are trained when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraSpec>,
    /// What is minimised.
    pub objective: Objective,
    /// What it learns from.
    pub data: DataSpec,
    /// Optimiser updates.
    pub steps: u32,
    /// Pairs (or images) in a micro-batch: the M of the paper's M x M matrix.
    pub batch_size: u32,
    /// Micro-batches whose gradients are averaged into one update.
    #[serde(default = "one")]
    pub gradient_accumulation: u32,
    /// How weights are updated.
    #[serde(default)]
    pub optimizer: OptimizerSpec,
    /// How fast, over time.
    pub learning_rate: LearningRateSpec,
    /// Chance that a caption is replaced by the empty one, so that guidance keeps working.
    #[serde(default = "caption_dropout")]
    pub caption_dropout: f64,
    /// Which images are turned left to right now and then.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub horizontal_flip: HorizontalFlip,
    /// Which part of an image that is wider or higher than the model's is learnt from.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub crop: Crop,
    /// What SDXL is told of an image's sizes.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub micro_conditioning: MicroConditioningSpec,
    /// Noise and timestep shared by winner and loser, or by the whole micro-batch.
    #[serde(default)]
    pub noise: NoiseSharing,
    /// What the errors of a model that predicts v are measured in, where a preference objective compares them.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub error_space: ErrorSpace,
    /// What the networks compute in; weights are kept in f32 whatever it is.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub precision: Precision,
    /// Ways to train in less memory.
    #[serde(default, skip_serializing_if = "MemorySpec::is_plain")]
    pub memory: MemorySpec,
    /// Decay of an exponential moving average of the weights, which becomes the model; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// Of every random draw of the run.
    #[serde(default)]
    pub seed: u64,
    /// Steps between saved states; 0 saves at the end only.
    #[serde(default)]
    pub checkpoint_every: u32,
    /// The newest checkpoints that are kept, and older ones that something refers to (images, votes, jobs, models
    /// trained from them); all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_checkpoints: Option<u32>,
    /// Examples that are held out of training, whose loss each checkpoint is told by, with the same noise and timesteps
    /// every time; whole batches, 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub validation_examples: u32,
    /// Keeps the checkpoint with the lowest validation loss, however old it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_best: bool,
    /// Steps between rendered sample images; 0 renders none.
    #[serde(default)]
    pub sample_every: u32,
    /// Prompts of the sample images.
    #[serde(default)]
    pub sample_prompts: Vec<String>,
    /// Prompts to evaluate the finished model on, as a job of its own; 0 for none.
    #[serde(default)]
    pub evaluate_prompts: u32,
}

/// What is minimised (method.md section 1).
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Objective {
    /// Plain pre-training: the denoising error of every image.
    Denoise {
        /// Clamp of the signal-to-noise ratio that weighs each timestep; unweighted when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snr_clamp: Option<SnrClamp>,
    },
    /// Supervised fine-tuning: the denoising error of the winners.
    Sft {},
    /// Diffusion-DPO: each winner against its own loser.
    DiffusionDpo {
        /// Strength of the pull to the reference; larger trusts the preferences more per unit of error.
        beta: f64,
    },
    /// Diff-contrast: every winner against every loser, weighted by CLIP similarity outside the log-sigmoid (Eq. 2, 9).
    DiffContrast {
        /// As for Diffusion-DPO.
        beta: f64,
        /// Temperature of the weights; towards 0 it is Diffusion-DPO, towards infinity a uniform mean.
        tau: f64,
        /// What the similarity compares.
        #[serde(default)]
        embedding: Embedding,
    },
    /// RPO weighting: the same weights inside the log-sigmoid (Eq. 15).
    Rpo {
        /// As for Diffusion-DPO.
        beta: f64,
        /// As for Diff-contrast.
        tau: f64,
        /// As for Diff-contrast.
        #[serde(default)]
        embedding: Embedding,
    },
}

impl Objective {
    /// The word in specs and columns.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Denoise { .. } => "denoise",
            Self::Sft {} => "sft",
            Self::DiffusionDpo { .. } => "diffusion_dpo",
            Self::DiffContrast { .. } => "diff_contrast",
            Self::Rpo { .. } => "rpo",
        }
    }

    /// Whether it compares winners with losers and so needs pairs and a reference.
    #[must_use]
    pub fn is_preference(&self) -> bool {
        matches!(self, Self::DiffusionDpo { .. } | Self::DiffContrast { .. } | Self::Rpo { .. })
    }
}

/// Weighs the squared error of timestep t by clamp(SNR(t), min, max), expressed in the prediction's own space.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnrClamp {
    /// Smallest weight.
    pub min: f64,
    /// Largest weight (the gamma of min-SNR).
    pub max: f64,
}

/// What the similarity of a winner and a loser compares. Each feature is L2-normalised first.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Embedding {
    /// Image and text features concatenated: the mean of both similarities.
    #[default]
    Concat,
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// Image features alone.
    ImageOnly,
    /// Text features alone.
    TextOnly,
}

/// Which noise and timestep the members of a micro-batch share.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseSharing {
    /// One timestep and one noise per pair, as Diffusion-DPO does.
    #[default]
    PerPair,
    /// One timestep for the whole matrix (what Eq. 2 and 3 imply), one noise per pair.
    BatchShared,
}

/// What the denoising errors of a model that predicts v are measured in. For a model that predicts the noise the two are
/// one.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorSpace {
    /// The prediction's own, as the reference scripts do: every timestep counts alike.
    #[default]
    Prediction,
    /// The noise that the prediction implies, as the paper derives it (Eq. 8): an error of v counts abar_t times, so
    /// that late timesteps count little.
    Epsilon,
}

/// How weights are updated.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// Adam with decoupled weight decay.
    AdamW {
        /// Decay of the first moment.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Share of the learning rate by which weights shrink.
        #[serde(default = "weight_decay")]
        weight_decay: f64,
        /// Largest norm of a gradient; longer ones are scaled down to it. 0 clips nothing.
        #[serde(default = "max_grad_norm")]
        max_grad_norm: f64,
        /// What the moments are kept in.
        #[serde(default, skip_serializing_if = "crate::is_default")]
        moments: Moments,
    },
    /// Adafactor (Shazeer and Stern 2018) at a given rate, as the SDXL recipes use it: of a matrix's second moments it
    /// keeps means of rows and columns only.
    Adafactor {
        /// Largest root mean square of an update, before the rate.
        #[serde(default = "clip_threshold")]
        clip_threshold: f64,
        /// After t updates the moments decay by 1 - t^`decay_rate`.
        #[serde(default = "decay_rate")]
        decay_rate: f64,
        /// Decay of the first moment; none is kept when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        beta1: Option<f64>,
        /// Added to squared gradients.
        #[serde(default = "adafactor_epsilon")]
        epsilon: f64,
        /// Share of the learning rate by which weights shrink.
        #[serde(default = "weight_decay")]
        weight_decay: f64,
        /// Largest norm of a gradient; longer ones are scaled down to it. 0 clips nothing.
        #[serde(default = "max_grad_norm")]
        max_grad_norm: f64,
    },
}

impl OptimizerSpec {
    /// Largest norm of a gradient; 0 clips nothing.
    #[must_use]
    pub fn max_grad_norm(&self) -> f64 {
        match *self {
            Self::AdamW { max_grad_norm, .. } | Self::Adafactor { max_grad_norm, .. } => max_grad_norm,
        }
    }

    fn validate(&self, p: &mut Problems) {
        let positive = |p: &mut Problems, field: &str, v: f64| {
            p.require(v.is_finite() && v > 0.0, field, format!("{v} is not a positive number"));
        };
        let decay = |p: &mut Problems, field: &str, v: f64| {
            p.require((0.0..1.0).contains(&v), field, "use 0 to below 1");
        };
        let weight_decay = match *self {
            Self::AdamW { beta1, beta2, epsilon, weight_decay, .. } => {
                decay(p, "optimizer.beta1", beta1);
                decay(p, "optimizer.beta2", beta2);
                positive(p, "optimizer.epsilon", epsilon);
                weight_decay
            }
            Self::Adafactor { clip_threshold, decay_rate, beta1, epsilon, weight_decay, .. } => {
                positive(p, "optimizer.clip_threshold", clip_threshold);
                p.require(
                    (-1.0..0.0).contains(&decay_rate),
                    "optimizer.decay_rate",
                    "use -1 to below 0, for example -0.8",
                );
                decay(p, "optimizer.beta1", beta1.unwrap_or(0.0));
                positive(p, "optimizer.epsilon", epsilon);
                weight_decay
            }
        };
        for (field, v) in
            [("optimizer.weight_decay", weight_decay), ("optimizer.max_grad_norm", self.max_grad_norm())]
        {
            p.require(v.is_finite() && v >= 0.0, field, "use 0 or more");
        }
    }
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        Self::AdamW {
            beta1: beta1(),
            beta2: beta2(),
            epsilon: epsilon(),
            weight_decay: weight_decay(),
            max_grad_norm: max_grad_norm(),
            moments: Moments::default(),
        }
    }
}

/// The learning rate over a run.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRateSpec {
    /// The rate after warm-up.
    pub rate: f64,
    /// Multiplies the rate by batch size x accumulation, as Diffusion-DPO's `--scale_lr` does.
    #[serde(default)]
    pub scale: bool,
    /// Its course after warm-up.
    #[serde(default)]
    pub schedule: LearningRateSchedule,
    /// Steps over which it rises linearly from 0.
    #[serde(default)]
    pub warmup_steps: u32,
}

/// The course of the learning rate after warm-up.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningRateSchedule {
    /// Stays.
    #[default]
    Constant,
    /// Falls linearly to 0 at the last step.
    Linear,
    /// Falls to 0 along half a cosine.
    Cosine,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}
fn one() -> u32 {
    1
}
fn caption_dropout() -> f64 {
    0.2
}
fn beta1() -> f64 {
    0.9
}
fn beta2() -> f64 {
    0.999
}
fn epsilon() -> f64 {
    1e-8
}
fn weight_decay() -> f64 {
    1e-2
}
fn max_grad_norm() -> f64 {
    1.0
}
fn clip_threshold() -> f64 {
    1.0
}
fn decay_rate() -> f64 {
    -0.8
}
/// The square of the smallest gradient that counts, as the paper and transformers have it.
fn adafactor_epsilon() -> f64 {
    1e-30
}

/// Whether a name may name a run or model (and so a folder): no separators, no leading dot.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

impl TrainSpec {
    /// The rate that the optimiser sees after warm-up.
    #[must_use]
    pub fn effective_rate(&self) -> f64 {
        let LearningRateSpec { rate, scale, .. } = self.learning_rate;
        if scale { rate * f64::from(self.batch_size) * f64::from(self.gradient_accumulation) } else { rate }
    }

    /// How the images of a set become tensors for this run.
    #[must_use]
    pub fn image(&self) -> ImageSpec {
        ImageSpec {
            crop: self.crop,
            mirrored: self.horizontal_flip != HorizontalFlip::Off,
            ..ImageSpec::default()
        }
    }

    /// Images that one update sees: two per pair.
    #[must_use]
    pub fn images_per_step(&self) -> u32 {
        let per_example = if self.objective.is_preference() { 2 } else { 1 };
        self.batch_size.saturating_mul(self.gradient_accumulation).saturating_mul(per_example)
    }

    /// # Errors
    /// Every field that cannot be accepted, with the remedy.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        p.require(
            is_name(&self.name),
            "name",
            "use 1 to 100 letters, digits, '-', '_' or '.', not starting with '.'",
        );
        p.require(
            !self.base.trim().is_empty(),
            "base",
            "name the model to start from, for example \"shapes\"",
        );
        p.require(
            !self.from_nothing || matches!(self.objective, Objective::Denoise { .. }),
            "from_nothing",
            format!("objective {} needs a trained start: leave from_nothing out", self.objective.kind()),
        );
        if let Some(lora) = &self.lora {
            lora.validate(&mut p);
            p.require(!self.from_nothing, "lora", "updates a trained start: leave from_nothing or lora out");
        }
        let positive = |p: &mut Problems, field: &str, v: f64| {
            p.require(v.is_finite() && v > 0.0, field, format!("{v} is not a positive number"));
        };
        match &self.objective {
            Objective::Denoise { snr_clamp: Some(SnrClamp { min, max }) } => {
                p.require(
                    min.is_finite() && max.is_finite() && *min >= 0.0 && max > min,
                    "objective.snr_clamp",
                    "needs 0 <= min < max",
                );
            }
            Objective::Denoise { snr_clamp: None } | Objective::Sft {} => {}
            Objective::DiffusionDpo { beta } => positive(&mut p, "objective.beta", *beta),
            Objective::DiffContrast { beta, tau, .. } | Objective::Rpo { beta, tau, .. } => {
                positive(&mut p, "objective.beta", *beta);
                positive(&mut p, "objective.tau", *tau);
            }
        }
        p.require(
            self.error_space == ErrorSpace::Prediction || self.objective.is_preference(),
            "error_space",
            format!("objective {} compares no errors: leave error_space out", self.objective.kind()),
        );
        self.data.validate(&mut p);
        if let DataSpec::Shapes { count, .. } = &self.data {
            p.require(
                count.saturating_sub(self.validation_examples) >= self.batch_size,
                "data.count",
                "use at least one batch beside validation_examples (incomplete ones are dropped)",
            );
        }
        p.require(
            self.data.has_pairs() || matches!(self.objective, Objective::Denoise { .. }),
            "data.set",
            format!(
                "objective {} needs pairs: use van_gogh, sketch, winter or quality",
                self.objective.kind()
            ),
        );
        p.require((1..=10_000_000).contains(&self.steps), "steps", "use 1 to 10000000");
        p.require((1..=4096).contains(&self.batch_size), "batch_size", "use 1 to 4096");
        p.require((1..=4096).contains(&self.gradient_accumulation), "gradient_accumulation", "use 1 to 4096");
        self.optimizer.validate(&mut p);
        positive(&mut p, "learning_rate.rate", self.learning_rate.rate);
        p.require(
            self.learning_rate.warmup_steps <= self.steps,
            "learning_rate.warmup_steps",
            "use at most `steps`",
        );
        p.require((0.0..=1.0).contains(&self.caption_dropout), "caption_dropout", "use 0 to 1");
        if let Some(d) = self.ema_decay {
            p.require((0.0..1.0).contains(&d), "ema_decay", "use 0 to below 1, for example 0.999");
        }
        p.require(
            self.keep_checkpoints != Some(0),
            "keep_checkpoints",
            "use 1 or more, or leave it out to keep all",
        );
        p.require(
            self.batch_size > 0 && self.validation_examples.is_multiple_of(self.batch_size),
            "validation_examples",
            format!("use a multiple of batch_size ({}), or 0", self.batch_size),
        );
        p.require(
            !self.keep_best || self.validation_examples > 0,
            "keep_best",
            "needs validation_examples: the best checkpoint is the one with the lowest validation loss",
        );
        p.require(self.seed <= MAX_SEED, "seed", format!("use 0 to {MAX_SEED}"));
        p.require(self.sample_prompts.len() <= 16, "sample_prompts", "use at most 16");
        p.require(
            self.sample_prompts.iter().all(|s| s.len() <= crate::image::MAX_PROMPT_BYTES),
            "sample_prompts",
            format!("use at most {} bytes each", crate::image::MAX_PROMPT_BYTES),
        );
        p.require(
            self.sample_every == 0 || !self.sample_prompts.is_empty(),
            "sample_prompts",
            "name at least one prompt, or set sample_every to 0",
        );
        p.require(self.evaluate_prompts <= 10_000, "evaluate_prompts", "use at most 10000");
        p.into_result()
    }
}
