//! How few answers decide the order of two models.

use crate::answers::Answers;
use crate::choice::derivatives;
use crate::fit::{Fit, Weighting, fit_from};

/// The answers without which the order of two models is reversed.
#[derive(Clone, Debug, PartialEq)]
pub struct Influential {
    /// Their numbers, the most influential first.
    pub answers: Vec<usize>,
    /// The difference of the two models without them: negative, as a fit confirmed.
    pub without: f64,
}

/// The most influential answers without which `a` is no longer above `b` (T. Broderick, R. Giordano and R. Meager, 2020):
/// the fewest whose influences, to first order, add up to the difference. A fit without them checks it; while it still has
/// `a` above `b`, a tenth more are left out. None if a third of the answers does not suffice, or `a` is not above `b`.
#[must_use]
pub fn influential(
    answers: &Answers,
    fit: &Fit,
    weighting: Weighting,
    a: usize,
    b: usize,
) -> Option<Influential> {
    let difference = fit.difference(a, b).value;
    if difference <= 0.0 {
        return None;
    }
    let inverse = &fit.clusters.inverse;
    let influence = |index: usize| {
        let d = derivatives(&answers.list[index], &fit.parameters);
        let along = |place: usize| inverse[a][d.indices[place]] - inverse[b][d.indices[place]];
        fit.weights[index] * (0..d.count).map(|place| along(place) * d.score[place]).sum::<f64>()
    };
    let mut ranked: Vec<(usize, f64)> = (0..answers.len()).map(|index| (index, influence(index))).collect();
    ranked.sort_by(|x, y| y.1.total_cmp(&x.1).then(x.0.cmp(&y.0)));
    let mut left = difference;
    let mut count = ranked
        .iter()
        .take_while(|(_, influence)| {
            let needed = left > 0.0 && *influence > 0.0;
            left -= influence;
            needed
        })
        .count();
    while count <= answers.len() / 3 {
        let dropped: Vec<usize> = ranked[..count].iter().map(|(index, _)| *index).collect();
        let mut is_dropped = vec![false; answers.len()];
        dropped.iter().for_each(|&index| is_dropped[index] = true);
        let without =
            fit_from(&answers.filtered(|index| !is_dropped[index]), weighting, fit).difference(a, b).value;
        if without < 0.0 {
            return Some(Influential { answers: dropped, without });
        }
        count += (count / 10).max(1);
    }
    None
}
