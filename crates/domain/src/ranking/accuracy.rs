//! How often a score agrees with people, ties counted on both sides: PickScore's protocol
//! (`yuvalkirstain/PickScore trainer/scripts/eval_preference_predictor.py`; Kirstain et al., Pick-a-Pic, section 5).

use super::Outcome;

/// A pair of images: how likely the score finds the first the better one (the first half of a softmax over both
/// scores), and what people said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predicted {
    /// Between 0 and 1.
    pub first: f64,
    /// People's.
    pub outcome: Outcome,
}

/// The score says "tie" where its two probabilities differ by at most `threshold`. A right answer is worth 1, a half
/// right one (either side says tie, the other not) a half. The mean of these; none without pairs.
#[must_use]
pub fn tie_aware_accuracy(pairs: &[Predicted], threshold: f64) -> Option<f64> {
    let credit = |pair: &Predicted| {
        let second = 1.0 - pair.first;
        let says = if (second - pair.first).abs() <= threshold {
            Outcome::Neither
        } else if pair.first > second {
            Outcome::First
        } else {
            Outcome::Second
        };
        match (says, pair.outcome) {
            (says, truth) if says == truth => 1.0,
            (Outcome::Neither, _) | (_, Outcome::Neither) => 0.5,
            _ => 0.0,
        }
    };
    (!pairs.is_empty()).then(|| pairs.iter().map(credit).sum::<f64>() / pairs.len() as f64)
}

/// The threshold of 0, 0.1, ..., 1 with the best accuracy, the smallest of equals, and that accuracy. To be chosen on
/// validation pairs and used on others.
#[must_use]
pub fn best_tie_threshold(pairs: &[Predicted]) -> Option<(f64, f64)> {
    let mut best: Option<(f64, f64)> = None;
    for tenth in 0..=10 {
        let threshold = f64::from(tenth) / 10.0;
        let accuracy = tie_aware_accuracy(pairs, threshold)?;
        if best.is_none_or(|(_, most)| accuracy > most) {
            best = Some((threshold, accuracy));
        }
    }
    best
}
