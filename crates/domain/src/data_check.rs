//! The report of `data check`: what a set holds, and what is likely wrong with it.

use crate::dataset::{ReadReport, Source};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many rows of a kind a report lists; the others are only counted.
pub const LISTED: usize = 10;

/// What a set of pairs or captioned images holds.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataReport {
    /// Value of `source` in the spec.
    pub source: String,
    /// Rows read, used and dropped.
    pub rows: ReadReport,
    /// Whether the check ended before the end of the set.
    pub is_partial: bool,
    /// Examples with a loser. The others can only be trained on by `denoise` and `sft`.
    pub with_loser: u64,
    /// Whether the base draws the losers before the run. The check does not see these images.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draws_losers: bool,
    /// Images by width and height.
    pub sizes: Vec<SizeCount>,
    /// Images smaller than the training size, which are enlarged. Absent without a base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enlarged: Option<u64>,
    /// Lengths of the prompts.
    pub prompts: PromptLengths,
    /// The most frequent prompts, most frequent first, if they occur more than once.
    pub repeated_prompts: Vec<RepeatedPrompt>,
    /// By model: how often its images win and lose, if the set names models.
    pub models: BTreeMap<String, WinsAndLosses>,
    /// Rows that repeat both images of an earlier row.
    pub duplicates: Listed,
    /// Rows whose winner and loser are the same file.
    pub identical_pairs: Listed,
    /// Rows whose winner and loser look the same: reduced to 16 x 16 grey pixels they differ by less than 1% on average.
    pub near_identical_pairs: Listed,
    /// What training on the set will take. Absent without a training spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostEstimate>,
    /// What to look at before training, in sentences.
    pub warnings: Vec<String>,
}

/// Number of images of one size.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeCount {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Number of images.
    pub images: u64,
}

/// Lengths of prompts, in words.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptLengths {
    /// Number of different prompts.
    pub different: u64,
    /// Fewest words.
    pub shortest: u64,
    /// Median number of words.
    pub median: u64,
    /// Most words.
    pub longest: u64,
    /// Different prompts that the text encoder cuts. Absent without a base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
}

/// A prompt that several rows have.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepeatedPrompt {
    /// The prompt.
    pub prompt: String,
    /// Number of rows.
    pub rows: u64,
}

/// How often a model's images win and lose.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WinsAndLosses {
    /// Winners.
    pub wins: u64,
    /// Losers.
    pub losses: u64,
}

/// Rows of a kind: their number, and the first of them.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Number of rows.
    pub count: u64,
    /// The first ten.
    pub first: Vec<Source>,
}

impl Listed {
    /// Adds a row.
    pub fn add(&mut self, source: &Source) {
        self.count += 1;
        if self.first.len() < LISTED {
            self.first.push(source.clone());
        }
    }
}

/// Memory and disk that a run takes, computed from the shapes of the base, and its time, measured if possible.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostEstimate {
    /// Trained values.
    pub trained: u64,
    /// Bytes of weights, gradients, optimiser and reference together. Activations come on top.
    pub memory_bytes: u64,
    /// Bytes of the encoded set on disk.
    pub encoded_bytes: u64,
    /// Steps of the run.
    pub steps: u32,
    /// Images of the run, all steps together.
    pub images: u64,
    /// Seconds of the run: by a measured step, or by the speed of the latest run of the same base. Absent if neither is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Peak memory of a measured step in bytes, activations included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_bytes: Option<u64>,
}

/// A number of bytes for people, in GB or MB with three digits.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    let (value, unit) = if bytes >= 1_000_000_000 { (1e9, "GB") } else { (1e6, "MB") };
    let value = bytes as f64 / value;
    if value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.2} {unit}") }
}
