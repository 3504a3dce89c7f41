//! How often a metric agrees with raters, ties counted on both sides: PickScore's protocol (`yuvalkirstain/PickScore
//! trainer/scripts/eval_preference_predictor.py`; Kirstain et al., Pick-a-Pic, 2023, section 5).

use super::tally::Outcome;

/// A pair of images: the metric's prediction, and the raters' answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predicted {
    /// Probability that the first image is better, 0 to 1: the first component of the softmax of both scores.
    pub first: f64,
    /// The raters' answer.
    pub outcome: Outcome,
}

/// The mean accuracy of the predictions; none without pairs. A prediction is a tie if its two probabilities differ by
/// at most `threshold`. A correct prediction counts 1; one where only the metric or only the raters say "tie" counts
/// 1/2.
#[must_use]
pub fn tie_aware_accuracy(pairs: &[Predicted], threshold: f64) -> Option<f64> {
    let credit = |pair: &Predicted| {
        let second = 1.0 - pair.first;
        let predicted = if (second - pair.first).abs() <= threshold {
            Outcome::Neither
        } else if pair.first > second {
            Outcome::First
        } else {
            Outcome::Second
        };
        match (predicted, pair.outcome) {
            (predicted, answer) if predicted == answer => 1.0,
            (Outcome::Neither, _) | (_, Outcome::Neither) => 0.5,
            _ => 0.0,
        }
    };
    (!pairs.is_empty()).then(|| pairs.iter().map(credit).sum::<f64>() / pairs.len() as f64)
}
