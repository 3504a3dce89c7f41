//! Probabilities of one answer, with first and second derivatives.
//!
//! Two images, i on the left and j on the right: with d = r_i - r_j + position, left, right and neither are as e^(d/2)
//! to e^(-d/2) to e^tie. That is Davidson's model of ties (1970) with the position effect of Davidson and Beaver (1977).
//! More images: Luce's choice of the best, e^(r_i) over the sum of those shown, and for a ranking Plackett-Luce, the
//! product of choices among what is left. Sides are drawn at random, and only pairs have a position effect.

use crate::answers::{Counted, MOST_SHOWN};

/// The derivatives of an answer's log-probability by the parameters that it depends on.
pub(crate) struct Derivatives {
    pub(crate) probability: f64,
    pub(crate) count: usize,
    /// Indices of the parameters.
    pub(crate) indices: [usize; MOST_SHOWN],
    pub(crate) score: [f64; MOST_SHOWN],
    /// Minus the second derivatives.
    pub(crate) information: [[f64; MOST_SHOWN]; MOST_SHOWN],
}

/// Probabilities of left, right and neither for d and the log-weight of a tie.
pub(crate) fn pair_probabilities(d: f64, tie: f64) -> [f64; 3] {
    // Relative to the likelier side, so that nothing overflows before the tie's weight does.
    let less = (-d.abs()).exp();
    let neither = (tie - d.abs() / 2.0).exp();
    let sum = 1.0 + less + neither;
    let [more, less, neither] = [1.0 / sum, less / sum, neither / sum];
    if d >= 0.0 { [more, less, neither] } else { [less, more, neither] }
}

/// Variances and covariance of (left - right) / 2 and neither: the information about d and about the tie's log-weight.
pub(crate) fn pair_information([left, right, neither]: [f64; 3]) -> (f64, f64, f64) {
    let lean = left - right;
    (0.25 * (left + right - lean * lean), -0.5 * lean * neither, neither * (1.0 - neither))
}

/// Luce's probabilities of the first `count` strengths.
pub(crate) fn choice_probabilities(strengths: &[f64; MOST_SHOWN], count: usize) -> [f64; MOST_SHOWN] {
    let most = strengths[..count].iter().fold(f64::NEG_INFINITY, |most, s| most.max(*s));
    let mut p = [0.0; MOST_SHOWN];
    for place in 0..count {
        p[place] = (strengths[place] - most).exp();
    }
    let sum: f64 = p.iter().sum();
    p.map(|p| p / sum)
}

/// `parameters`: the models' r, then the position effect, then the tie's log-weight.
pub(crate) fn derivatives(answer: &Counted, parameters: &[f64]) -> Derivatives {
    if answer.count == 2 { pair(answer, parameters) } else { ranking(answer, parameters) }
}

fn pair(answer: &Counted, parameters: &[f64]) -> Derivatives {
    let (position, tie) = (parameters.len() - 2, parameters.len() - 1);
    let [i, j] = [answer.shown[0], answer.shown[1]];
    let p = pair_probabilities(parameters[i] - parameters[j] + parameters[position], parameters[tie]);
    let outcome = if answer.chosen == 0 { 2 } else { answer.order[0] };
    let mut said = [0.0; 3];
    said[outcome] = 1.0;
    let by_d = 0.5 * (said[0] - said[1] - (p[0] - p[1]));
    let by_tie = said[2] - p[2];
    let (dd, dt, tt) = pair_information(p);
    let signs = [1.0, -1.0, 1.0];
    let mut information = [[0.0; MOST_SHOWN]; MOST_SHOWN];
    for (a, sign_a) in signs.into_iter().enumerate() {
        for (b, sign_b) in signs.into_iter().enumerate() {
            information[a][b] = sign_a * sign_b * dd;
        }
        information[a][3] = sign_a * dt;
        information[3][a] = sign_a * dt;
    }
    information[3][3] = tt;
    Derivatives {
        probability: p[outcome],
        count: 4,
        indices: [i, j, position, tie],
        score: [by_d, -by_d, by_d, by_tie],
        information,
    }
}

fn ranking(answer: &Counted, parameters: &[f64]) -> Derivatives {
    let count = answer.count;
    let mut indices = [0; MOST_SHOWN];
    for (place, index) in indices.iter_mut().enumerate().take(count) {
        *index = answer.shown[answer.order[place]];
    }
    let mut result = Derivatives {
        probability: 1.0,
        count,
        indices,
        score: [0.0; MOST_SHOWN],
        information: [[0.0; MOST_SHOWN]; MOST_SHOWN],
    };
    // The stage `first`: a choice among those from `first` on.
    for first in 0..answer.chosen {
        let mut strengths = [0.0; MOST_SHOWN];
        let left = count - first;
        for place in 0..left {
            strengths[place] = parameters[indices[first + place]];
        }
        let p = choice_probabilities(&strengths, left);
        result.probability *= p[0];
        result.score[first] += 1.0;
        for a in 0..left {
            result.score[first + a] -= p[a];
            result.information[first + a][first + a] += p[a];
            for b in 0..left {
                result.information[first + a][first + b] -= p[a] * p[b];
            }
        }
    }
    result
}
