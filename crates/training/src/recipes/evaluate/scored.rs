//! The scores of one model.

use crate::judges::Scores;
use domain::evaluate::{FidReport, Metric};

/// The scores of one model.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    /// Name of the model.
    pub(super) model: String,
    /// SHA-256 of its weights.
    pub(super) sha256: String,
    /// By metric, one score per prompt.
    pub(super) scores: Scores,
    /// Distance of its images from the reference set, if the spec names one.
    pub(super) fid: Option<FidReport>,
}

/// A prompt that two models have scores for.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScorePair {
    /// Index of the prompt.
    pub(super) index: usize,
    /// Score of the model.
    pub(super) ours: f64,
    /// Score of the baseline.
    pub(super) theirs: f64,
}

impl ScorePair {
    pub(super) fn difference(self) -> f64 {
        self.ours - self.theirs
    }
}

/// The prompts for which both models have a score by `metric`, in order.
pub(super) fn pairs(scored: &Scored, baseline: &Scored, metric: Metric) -> Vec<ScorePair> {
    let (Some(ours), Some(theirs)) = (scored.scores.get(&metric), baseline.scores.get(&metric)) else {
        return Vec::new();
    };
    let both = ours.iter().zip(theirs).enumerate();
    both.filter_map(|(index, (&ours, &theirs))| Some(ScorePair { index, ours: ours?, theirs: theirs? }))
        .collect()
}
