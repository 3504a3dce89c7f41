//! How far raters agree beyond chance. Each figure is 1 for full agreement and 0 for what chance would give; none where
//! chance alone would agree fully (everybody always says the same) or nothing was rated twice, since then there is
//! nothing to measure.

use std::collections::BTreeMap;

/// Cohen's kappa of two raters' answers to the same questions: (p_o - p_e) / (1 - p_e), with p_o the share of equal
/// answers and p_e what it would be if both kept their habits but answered at random. J. Cohen, A Coefficient of
/// Agreement for Nominal Scales (1960).
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
    // In counts, so that certainty is seen exactly: n p_o and n^2 p_e.
    (by_chance < n * n).then(|| (equal * n - by_chance) / (n * n - by_chance))
}

/// Fleiss' kappa of any number of raters: `counts[i][j]` is how many gave question i the answer j. Every question must
/// have equally many answers, at least two, or there is no kappa. J. Fleiss, Measuring Nominal Scale Agreement Among
/// Many Raters (1971).
#[must_use]
pub fn fleiss_kappa(counts: &[Vec<u32>]) -> Option<f64> {
    let raters = counts.first()?.iter().map(|&n| f64::from(n)).sum::<f64>();
    let width = counts.first()?.len();
    let even =
        |row: &Vec<u32>| row.len() == width && row.iter().map(|&n| f64::from(n)).sum::<f64>() == raters;
    if raters < 2.0 || !counts.iter().all(even) {
        return None;
    }
    let all = counts.len() as f64 * raters;
    let pairs: f64 = counts.iter().flatten().map(|&n| f64::from(n) * (f64::from(n) - 1.0)).sum();
    let observed = pairs / (all * (raters - 1.0));
    let column = |j: usize| counts.iter().map(|row| f64::from(row[j])).sum::<f64>();
    let squares: f64 = (0..width).map(|j| column(j).powi(2)).sum();
    (squares < all * all).then(|| {
        let by_chance = squares / (all * all);
        (observed - by_chance) / (1.0 - by_chance)
    })
}

/// Krippendorff's alpha for answers that are names: `units[i]` are the answers to question i, of however many raters.
/// Questions with one answer do not count. alpha = 1 - D_o / D_e, the disagreement within questions over that among
/// all answers. K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011).
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
