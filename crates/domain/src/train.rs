//! The spec of a training run. The same type is config file, request body, database column and checkpoint manifest.

mod batching;
mod images;
mod learning_rate;
mod memory;
mod noise;
mod objective;
mod optimizer;
mod precision;

pub use batching::Batching;
pub use images::{HorizontalFlip, MicroConditioningSpec};
pub use learning_rate::{LearningRateSchedule, LearningRateSpec};
pub use memory::MemorySpec;
pub use noise::{ErrorSpace, NoiseSharing};
pub use objective::{Embedding, Objective, SnrClamp, Weighting};
pub use optimizer::OptimizerSpec;
pub use precision::{Moments, Precision};

use crate::data::DataSpec;
use crate::limits::{MAX_NAME_BYTES, MAX_PROMPT_BYTES, MAX_PROMPTS, MAX_SEED};
use crate::lora::LoraSpec;
use crate::name::{OUTSIDE_WORKING_FOLDER, is_below_working_folder, is_name};
use crate::prepare::{Crop, ImageSpec};
use crate::problem::Problems;
use serde::{Deserialize, Serialize};

/// Most optimiser updates of a run.
const MAX_STEPS: u32 = 10_000_000;
/// Largest micro-batch, and most micro-batches of an update.
const MAX_BATCH: u32 = 4_096;
/// Most prompts of sample images.
const MAX_SAMPLE_PROMPTS: usize = 16;

/// The CLIP that the paper's weights come from: OpenAI's ViT-L/14.
pub const PAPER_CLIP: &str = "openai/clip-vit-large-patch14";

/// A training run: what it starts from, what it learns from, what it minimises and what it saves.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
    "name": "winter-contrast", "base": "shapes",
    "objective": { "kind": "diff_contrast", "beta": 2000.0, "tau": 0.1 },
    "data": { "source": "shapes", "set": "winter", "count": 256 },
    "steps": 50, "batch_size": 8, "learning_rate": { "rate": 1e-5 }, "evaluate_prompts": 16
})))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// Name of the run and of the model it makes: 1 to 100 letters, digits, `-`, `_` or `.`, not starting with `.`.
    #[cfg_attr(
        feature = "openapi",
        schema(min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$")
    )]
    pub name: String,
    /// The model to start from: a model's name, or a folder in diffusers layout.
    #[cfg_attr(feature = "openapi", schema(min_length = 1))]
    pub base: String,
    /// Starts from random UNet weights instead of the base's; the base still gives the configs and the other
    /// networks. Only for the objective `denoise`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub from_nothing: bool,
    /// The frozen reference of a preference objective: a model's name or folder; the base when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Trains a LoRA adapter over the frozen base instead of all weights of the UNet; all weights when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraSpec>,
    /// The CLIP whose similarities weigh the pairs of `diff_contrast` and `rpo`: the name of a folder in the models
    /// folder, a folder, or a repository of the hub (OWNER/NAME), in the layout of transformers or OpenCLIP. The base's
    /// own when absent; published Stable Diffusion models have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "openai/clip-vit-large-patch14"))]
    pub clip: Option<String>,
    /// What is minimised.
    pub objective: Objective,
    /// The set to train on.
    pub data: DataSpec,
    /// Optimiser updates; 1 to 10000000.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000000))]
    pub steps: u32,
    /// Pairs (or images, for sets without pairs) in a micro-batch; 1 to 4096. It is the M of Diff-contrast's M x M
    /// matrix: larger contrasts each winner with more losers, and takes more memory.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 4096))]
    pub batch_size: u32,
    /// Micro-batches whose gradients are averaged into one update; 1 to 4096. Enlarges the effective batch without
    /// more memory. The matrix of Diff-contrast stays that of one micro-batch.
    #[serde(default = "gradient_accumulation")]
    #[cfg_attr(feature = "openapi", schema(default = gradient_accumulation, minimum = 1, maximum = 4096))]
    pub gradient_accumulation: u32,
    /// Which examples share a micro-batch.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    #[cfg_attr(feature = "openapi", schema(default = Batching::default))]
    pub batching: Batching,
    /// The optimiser.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = OptimizerSpec::default))]
    pub optimizer: OptimizerSpec,
    /// The learning rate and its schedule.
    pub learning_rate: LearningRateSpec,
    /// Probability with which a pair's caption is replaced by the empty one, 0 to 1. Above 0, so that the model also
    /// learns the unconditional prediction that guidance needs.
    #[serde(default = "caption_dropout")]
    #[cfg_attr(feature = "openapi", schema(default = caption_dropout, minimum = 0, maximum = 1))]
    pub caption_dropout: f64,
    /// Which images are mirrored left to right at random.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    #[cfg_attr(feature = "openapi", schema(default = HorizontalFlip::default))]
    pub horizontal_flip: HorizontalFlip,
    /// Which part is kept of an image whose aspect ratio is not the model's.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    #[cfg_attr(feature = "openapi", schema(default = Crop::default))]
    pub crop: Crop,
    /// The image sizes that condition SDXL.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    #[cfg_attr(feature = "openapi", schema(default = MicroConditioningSpec::default))]
    pub micro_conditioning: MicroConditioningSpec,
    /// Which members of a micro-batch share a timestep and a noise.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = NoiseSharing::default))]
    pub noise: NoiseSharing,
    /// The space in which a preference objective measures the errors of a model that predicts v.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    #[cfg_attr(feature = "openapi", schema(default = ErrorSpace::default))]
    pub error_space: ErrorSpace,
    /// Number format of the networks' activations; weights are always f32.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    #[cfg_attr(feature = "openapi", schema(default = Precision::default))]
    pub precision: Precision,
    /// Options that save memory and take time.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    #[cfg_attr(feature = "openapi", schema(default = MemorySpec::default))]
    pub memory: MemorySpec,
    /// Decay per update of an exponential moving average of the weights, 0 to below 1; the average becomes the model.
    /// 0.999 averages about 1000 updates. No average when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, exclusive_maximum = 1))]
    pub ema_decay: Option<f64>,
    /// Seed of every random draw of the run; 0 to 2^53 - 1. The same spec and seed give the same weights.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0, maximum = 9007199254740991i64))]
    pub seed: u64,
    /// Steps between checkpoints; 0 saves only the last step. A killed run resumes from its last checkpoint.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0))]
    pub checkpoint_every: u32,
    /// Keeps this many of the newest checkpoints, and older ones that images, votes, jobs or other models refer to; 1
    /// or more, all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub keep_checkpoints: Option<u32>,
    /// Examples held out of training to measure the loss at each checkpoint, always with the same noise and
    /// timesteps; a multiple of `batch_size`, 0 for none.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    #[cfg_attr(feature = "openapi", schema(default = 0))]
    pub validation_examples: u32,
    /// Never removes the checkpoint with the lowest validation loss. Needs `validation_examples`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub keep_best: bool,
    /// Steps between sample images; 0 for none.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0))]
    pub sample_every: u32,
    /// Prompts of the sample images, at most 16.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = json!([]), max_items = 16))]
    pub sample_prompts: Vec<String>,
    /// Evaluates the finished model on this many prompts, as a job of its own; at most 10000, 0 for none. A model of the
    /// bundled world gets held-out prompts of that world, any other the captions of its validation examples. No effect on
    /// runs of the `train` command.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0, maximum = 10000))]
    pub evaluate_prompts: u32,
}

fn gradient_accumulation() -> u32 {
    1
}
fn caption_dropout() -> f64 {
    0.2
}

impl TrainSpec {
    /// The learning rate after warm-up, with `learning_rate.scale` applied.
    #[must_use]
    pub fn effective_rate(&self) -> f64 {
        let LearningRateSpec { rate, scale, .. } = self.learning_rate;
        if scale { rate * f64::from(self.batch_size) * f64::from(self.gradient_accumulation) } else { rate }
    }

    /// How the set's images become tensors for this run.
    #[must_use]
    pub fn image(&self) -> ImageSpec {
        ImageSpec {
            crop: self.crop,
            mirrored: self.horizontal_flip != HorizontalFlip::Off,
            ..ImageSpec::default()
        }
    }

    /// Images of one update: two for each pair of a preference objective, else one for each example.
    #[must_use]
    pub fn images_per_step(&self) -> u32 {
        let per_example = if self.objective.is_preference() { 2 } else { 1 };
        self.batch_size.saturating_mul(self.gradient_accumulation).saturating_mul(per_example)
    }

    /// # Errors
    /// Returns every field that is out of range or contradicts another.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        self.validate_start(&mut p);
        self.validate_objective(&mut p);
        self.validate_data(&mut p);
        self.validate_updates(&mut p);
        self.validate_checkpoints(&mut p);
        p.require(self.seed <= MAX_SEED, "seed", format!("use 0 to {MAX_SEED}"));
        self.validate_samples(&mut p);
        p.into_result()
    }

    /// As [`Self::validate`], for a job: jobs can be submitted over HTTP, so their base and reference are models of the
    /// database, and their CLIP and set lie below the worker's current folder.
    ///
    /// # Errors
    /// Returns every field that is invalid.
    pub fn validate_job(&self) -> Result<(), Problems> {
        let mut p = self.validate().err().unwrap_or_default();
        let inside = self.clip.as_deref().is_none_or(is_below_working_folder);
        p.require(inside, "clip", OUTSIDE_WORKING_FOLDER);
        for (field, name) in [("base", Some(&self.base)), ("reference", self.reference.as_ref())] {
            let remedy = "is not a model's name: a job takes a model of the database, which import and register put there";
            p.require(name.is_none_or(|name| is_name(name) || name.trim().is_empty()), field, remedy);
        }
        for (field, folder) in self.data.folders() {
            p.require(is_below_working_folder(folder), field, OUTSIDE_WORKING_FOLDER);
        }
        p.into_result()
    }

    fn validate_start(&self, p: &mut Problems) {
        p.require(
            is_name(&self.name),
            "name",
            format!("use 1 to {MAX_NAME_BYTES} letters, digits, '-', '_' or '.', not starting with '.'"),
        );
        p.require(
            !self.base.trim().is_empty(),
            "base",
            "name the model to start from, for example \"shapes\"",
        );
        p.require(
            !self.from_nothing || matches!(self.objective, Objective::Denoise { .. }),
            "from_nothing",
            format!("objective {} needs trained weights: remove from_nothing", self.objective.kind()),
        );
        if let Some(lora) = &self.lora {
            lora.validate(p);
            p.require(
                !self.from_nothing,
                "lora",
                "an adapter needs trained weights: remove from_nothing or lora",
            );
        }
    }

    fn validate_objective(&self, p: &mut Problems) {
        self.objective.validate(p);
        if let Some(clip) = &self.clip {
            p.require(!clip.trim().is_empty(), "clip", "name a folder or a repository, or remove it");
            p.require(
                self.objective.weighting().is_some(),
                "clip",
                format!("has no effect on objective {}: remove clip", self.objective.kind()),
            );
        }
        p.require(
            self.error_space == ErrorSpace::Prediction || self.objective.is_preference(),
            "error_space",
            format!("has no effect on objective {}: remove error_space", self.objective.kind()),
        );
    }

    fn validate_data(&self, p: &mut Problems) {
        self.data.validate(p);
        if let DataSpec::Shapes { count, .. } = &self.data {
            p.require(
                count.saturating_sub(self.validation_examples) >= self.batch_size,
                "data.count",
                "use at least batch_size + validation_examples: incomplete micro-batches are dropped",
            );
        }
        if self.objective.is_preference() && !self.data.has_pairs() {
            let (field, remedy) = self.data.remedy_without_pairs();
            p.add(field, format!("objective {} needs pairs: {remedy}", self.objective.kind()));
        }
    }

    fn validate_updates(&self, p: &mut Problems) {
        p.require((1..=MAX_STEPS).contains(&self.steps), "steps", format!("use 1 to {MAX_STEPS}"));
        for (field, count) in
            [("batch_size", self.batch_size), ("gradient_accumulation", self.gradient_accumulation)]
        {
            p.require((1..=MAX_BATCH).contains(&count), field, format!("use 1 to {MAX_BATCH}"));
        }
        self.optimizer.validate(p);
        self.learning_rate.validate(self.steps, p);
        p.require((0.0..=1.0).contains(&self.caption_dropout), "caption_dropout", "use 0 to 1");
        if let Some(decay) = self.ema_decay {
            p.require((0.0..1.0).contains(&decay), "ema_decay", "use 0 to below 1, for example 0.999");
        }
    }

    fn validate_checkpoints(&self, p: &mut Problems) {
        p.require(
            self.keep_checkpoints != Some(0),
            "keep_checkpoints",
            "use 1 or more, or remove it to keep all",
        );
        p.require(
            self.batch_size > 0 && self.validation_examples.is_multiple_of(self.batch_size),
            "validation_examples",
            format!("use a multiple of batch_size ({}), or 0", self.batch_size),
        );
        p.require(
            !self.keep_best || self.validation_examples > 0,
            "keep_best",
            "set validation_examples: the best checkpoint is the one with the lowest validation loss",
        );
    }

    fn validate_samples(&self, p: &mut Problems) {
        p.require(
            self.sample_prompts.len() <= MAX_SAMPLE_PROMPTS,
            "sample_prompts",
            format!("use at most {MAX_SAMPLE_PROMPTS}"),
        );
        p.require(
            self.sample_prompts.iter().all(|prompt| prompt.len() <= MAX_PROMPT_BYTES),
            "sample_prompts",
            format!("use at most {MAX_PROMPT_BYTES} bytes each"),
        );
        p.require(
            self.sample_every == 0 || !self.sample_prompts.is_empty(),
            "sample_prompts",
            "name at least one prompt, or set sample_every to 0",
        );
        p.require(
            self.evaluate_prompts <= MAX_PROMPTS,
            "evaluate_prompts",
            format!("use at most {MAX_PROMPTS}"),
        );
    }
}
