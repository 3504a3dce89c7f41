//! Comparisons: images of two models, or of one, that are drawn for raters to judge.

use super::training::JobAccepted;
use crate::id::JobId;
use crate::job::{Job, JobState};
use crate::limits::{MAX_PROMPT_BYTES, MAX_PROMPTS, MAX_SEED};
use crate::preference::Question;
use crate::problem::Problems;
use serde::{Deserialize, Serialize};

/// Prompts of a comparison that names neither prompts nor their number.
const DEFAULT_COUNT: u32 = 32;
/// Images per prompt of a comparison of one model's images.
const DEFAULT_VARIANTS: u32 = 4;
/// Most images per prompt.
const MAX_IMAGES_PER_PROMPT: u32 = 16;

/// What to judge: the images of two models, or several images per prompt of one model.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
    "models": ["shapes", "winter-contrast"], "prompts": ["a large red circle on a blue background"]
})))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonRequest {
    /// Names or ids of two models, or of one.
    pub models: Vec<String>,
    /// The prompts, at most 10000. When absent: those of existing evaluation images; without any, the held-out prompts
    /// of the bundled world, if the models belong to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Vec<String>>,
    /// Most prompts to use when `prompts` is absent, 1 to 10000; 32 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Images per prompt and model, each with another seed. Two models: 1 to 16, 1 when absent. One model: 2 to 16, 4
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_per_prompt: Option<u32>,
    /// Seed of the first image's noise; image i uses seed + i. 0 when absent. Another seed gives further images of the
    /// same prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The question of the Judge page that `judge_url` opens.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = Question::default))]
    pub question: Question,
}

impl ComparisonRequest {
    /// Checks everything that needs no database.
    ///
    /// # Errors
    /// Returns every field that is invalid.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        p.require(
            matches!(self.models.len(), 1 | 2) && self.models.iter().all(|model| !model.trim().is_empty()),
            "models",
            "name two models, or one",
        );
        let counted = |count: Option<u32>, from: u32, to: u32| count.is_none_or(|n| (from..=to).contains(&n));
        p.require(counted(self.count, 1, MAX_PROMPTS), "count", format!("use 1 to {MAX_PROMPTS}"));
        let least = if self.models.len() == 1 { 2 } else { 1 };
        p.require(
            counted(self.images_per_prompt, least, MAX_IMAGES_PER_PROMPT),
            "images_per_prompt",
            format!("use {least} to {MAX_IMAGES_PER_PROMPT}"),
        );
        p.require(
            self.seed.is_none_or(|seed| seed <= MAX_SEED - u64::from(MAX_PROMPTS)),
            "seed",
            format!("use 0 to {}", MAX_SEED - u64::from(MAX_PROMPTS)),
        );
        if let Some(prompts) = &self.prompts {
            p.require(!prompts.is_empty(), "prompts", "give at least one prompt, or leave the field out");
            p.require(
                prompts.iter().all(|prompt| !prompt.trim().is_empty() && prompt.len() <= MAX_PROMPT_BYTES),
                "prompts",
                format!("no prompt may be empty or longer than {MAX_PROMPT_BYTES} bytes"),
            );
            p.require(
                prompts.len().saturating_mul(self.images_per_prompt() as usize) <= MAX_PROMPTS as usize,
                "prompts",
                format!("prompts times images per prompt may be at most {MAX_PROMPTS}: give fewer"),
            );
        }
        p.into_result()
    }

    /// The number of images per prompt and model, with its default.
    #[must_use]
    pub fn images_per_prompt(&self) -> u32 {
        self.images_per_prompt.unwrap_or(if self.models.len() == 1 { DEFAULT_VARIANTS } else { 1 })
    }

    /// The largest number of prompts when the request has none, with its default. With the images per prompt it stays
    /// within the limit of an evaluation.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.unwrap_or(DEFAULT_COUNT).min(MAX_PROMPTS / self.images_per_prompt().max(1)) as usize
    }
}

/// A comparison: what can be judged now, and what is being drawn.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Names of the models.
    pub models: Vec<String>,
    /// Pairs of images that exist and can be compared.
    pub pairs: u64,
    /// Images that the job still has to draw; 0 if none is missing.
    pub images: u64,
    /// The job that draws them; none if no image is missing.
    pub job: Option<JobAccepted>,
    /// Address of the Judge page for these models.
    pub judge_url: String,
}

/// The job that draws the images of a comparison.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drawing {
    /// Id of the job.
    pub job: JobId,
    /// Its state: queued, running or failed.
    pub state: JobState,
    /// Images drawn, existing ones included.
    pub progress: i64,
    /// Images in total; 0 until a worker has claimed the job.
    pub total: i64,
    /// Error message of a failed job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<Job> for Drawing {
    fn from(job: Job) -> Self {
        Self { job: job.id, state: job.state, progress: job.progress, total: job.total, error: job.error }
    }
}

#[cfg(test)]
mod tests {
    use super::ComparisonRequest;
    use crate::problem::Problems;

    fn read(json: &str) -> ComparisonRequest {
        serde_json::from_str(json).expect("a request")
    }

    #[test]
    fn every_invalid_field_is_named() {
        let fields = |json: &str| {
            let Problems(problems) = read(json).validate().expect_err("invalid");
            problems.into_iter().map(|problem| problem.field).collect::<Vec<_>>()
        };
        assert_eq!(fields(r#"{"models": []}"#), ["models"]);
        assert_eq!(fields(r#"{"models": ["a", " "]}"#), ["models"]);
        assert_eq!(fields(r#"{"models": ["a", "b", "c"], "count": 0}"#), ["models", "count"]);
        assert_eq!(fields(r#"{"models": ["a"], "images_per_prompt": 1}"#), ["images_per_prompt"]);
        assert_eq!(fields(r#"{"models": ["a", "b"], "prompts": []}"#), ["prompts"]);
        assert_eq!(fields(r#"{"models": ["a", "b"], "prompts": ["x", " "]}"#), ["prompts"]);
        let many = format!(r#"{{"models": ["a"], "prompts": [{}"x"]}}"#, r#""x","#.repeat(2500));
        assert_eq!(fields(&many), ["prompts"]);
    }

    #[test]
    fn one_model_has_several_images_per_prompt_and_two_models_have_one() {
        let (one, two) = (read(r#"{"models": ["a"]}"#), read(r#"{"models": ["a", "b"]}"#));
        one.validate().expect("valid");
        two.validate().expect("valid");
        assert_eq!((one.images_per_prompt(), two.images_per_prompt()), (4, 1));
        assert_eq!((one.count(), two.count()), (32, 32));
        // 4 images of each prompt stay within the 10000 of an evaluation.
        assert_eq!(read(r#"{"models": ["a"], "count": 10000}"#).count(), 2500);
    }
}
