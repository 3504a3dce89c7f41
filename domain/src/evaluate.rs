//! What an evaluation is asked to do: pictures of prompts by one model, and their scores.

use crate::image::Sampler;
use crate::problem::Problems;
use crate::train::MAX_SEED;
use serde::{Deserialize, Serialize};

/// An evaluation of one model.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateSpec {
    /// The model's name or id.
    pub model: String,
    /// What to picture.
    pub prompts: PromptSpec,
    /// Of the first picture's noise; picture i uses seed + i, so that every model starts from the same noise.
    #[serde(default)]
    pub seed: u64,
    /// Denoising steps; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Guidance scale; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance_scale: Option<f64>,
    /// Sampler; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<Sampler>,
}

/// Where prompts come from.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case", deny_unknown_fields)]
pub enum PromptSpec {
    /// Single objects of the bundled world in combinations it never shows in training.
    ShapesHeldOut {
        /// How many.
        count: u32,
    },
    /// Prompts given one by one.
    List {
        /// Them.
        prompts: Vec<String>,
    },
}

/// What a picture is scored by.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Cosine of the picture's and the prompt's CLIP features, by the model's own bundled CLIP.
    ClipScore,
    /// Whether the picture shows the asked shape and colour, by the bundled world's rule (1 or 0).
    ShapeAndColour,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 2] = [Self::ClipScore, Self::ShapeAndColour];

    /// The word in bodies and columns.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClipScore => "clip_score",
            Self::ShapeAndColour => "shape_and_colour",
        }
    }

    /// The words for people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::ClipScore => "CLIP score",
            Self::ShapeAndColour => "Shape & colour",
        }
    }
}

impl std::str::FromStr for Metric {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|m| m.as_str() == s).ok_or_else(|| format!("{s:?} is no metric"))
    }
}

impl EvaluateSpec {
    /// # Errors
    /// Every field that cannot be accepted, with the remedy.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        p.require(!self.model.trim().is_empty(), "model", "name the model to evaluate");
        match &self.prompts {
            PromptSpec::ShapesHeldOut { count } => {
                p.require((1..=10_000).contains(count), "prompts.count", "use 1 to 10000");
            }
            PromptSpec::List { prompts } => {
                p.require(
                    (1..=10_000).contains(&prompts.len()),
                    "prompts.prompts",
                    "give 1 to 10000 prompts",
                );
                p.require(
                    prompts.iter().all(|s| !s.trim().is_empty() && s.len() <= crate::image::MAX_PROMPT_BYTES),
                    "prompts.prompts",
                    format!("no prompt may be empty or longer than {} bytes", crate::image::MAX_PROMPT_BYTES),
                );
            }
        }
        p.require(self.seed <= MAX_SEED - 10_000, "seed", format!("use 0 to {}", MAX_SEED - 10_000));
        if let Some(steps) = self.steps {
            p.require((1..=1000).contains(&steps), "steps", "use 1 to 1000");
        }
        if let Some(g) = self.guidance_scale {
            p.require((0.0..=50.0).contains(&g), "guidance_scale", "use 0 to 50");
        }
        p.into_result()
    }
}
