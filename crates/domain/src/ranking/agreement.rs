//! Agreement of raters beyond chance: 1 for full agreement, 0 for chance. None if chance alone gives full agreement
//! (all answers are equal) or nothing was rated twice.

use std::collections::BTreeMap;

/// Cohen's kappa of two raters' answers to the same questions: (p_o - p_e) / (1 - p_e), with p_o the share of equal
/// answers and p_e its expectation if both answered independently with their own frequencies. (J. Cohen, A
/// Coefficient of Agreement for Nominal Scales, 1960.)
#[must_use]
pub fn cohen_kappa<T: Ord>(answers: &[(T, T)]) -> Option<f64> {
    let n = answers.len() as f64;
    let mut shares: BTreeMap<&T, [f64; 2]> = BTreeMap::new();
    for (first, second) in answers {
        shares.entry(first).or_default()[0] += 1.0;
        shares.entry(second).or_default()[1] += 1.0;
    }
    let equal = answers.iter().filter(|(first, second)| first == second).count() as f64;
    let by_chance: f64 = shares.values().map(|[first, second]| first * second).sum();
    // As counts, n p_o and n^2 p_e, so that p_e = 1 is found without rounding.
    (by_chance < n * n).then(|| (equal * n - by_chance) / (n * n - by_chance))
}

/// Krippendorff's alpha for nominal answers: `units[i]` are the answers to question i, by any number of raters.
/// Questions with one answer do not count. alpha = 1 - D_o / D_e, the disagreement within questions over that among
/// all answers. (K. Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011.)
#[must_use]
pub fn krippendorff_alpha<T: Ord>(units: &[Vec<T>]) -> Option<f64> {
    let mut totals: BTreeMap<&T, f64> = BTreeMap::new();
    let mut observed = 0.0;
    for unit in units.iter().filter(|unit| unit.len() > 1) {
        let answers = unit.len() as f64;
        let mut counts: BTreeMap<&T, f64> = BTreeMap::new();
        for answer in unit {
            *counts.entry(answer).or_default() += 1.0;
        }
        let equal: f64 = counts.values().map(|n| n * n).sum();
        observed += (answers * answers - equal) / (answers - 1.0);
        for (answer, count) in counts {
            *totals.entry(answer).or_default() += count;
        }
    }
    let all: f64 = totals.values().sum();
    let expected = all * all - totals.values().map(|n| n * n).sum::<f64>();
    (expected > 0.0).then(|| 1.0 - (all - 1.0) * observed / expected)
}
