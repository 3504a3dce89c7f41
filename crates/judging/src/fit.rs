//! The estimate of ratings, position effect, ties and reliabilities together.
//!
//! EM: given the parameters, each answer's weight is the probability that it follows the images; given the weights, one
//! step of Newton's method on the weighted log-likelihood with a weak prior. Steps that lower the likelihood are halved.

use crate::answers::Answers;
use crate::clusters::Clusters;
use crate::likelihood::{Evaluated, Weighed};
use crate::reliability::{self, Reliability, expected_shares, summary};
use domain::ranking::Cholesky;

/// Whether raters count by their reliability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// Every answer counts fully.
    Plain,
    /// An answer counts by the probability that it follows the images.
    ByReliability,
}

/// Precision of the Gaussian prior of every parameter, as in `domain::ranking::standings`: about the weight of one vote.
const PRIOR_PRECISION: f64 = 0.1;
/// Log-weight of a tie before any answer: a fifth of the answers of equal images.
const TIE: f64 = -0.7;
/// The longest step of a parameter, so that the first steps do not overshoot.
const LONGEST_STEP: f64 = 1.5;
const STEPS: usize = 200;

/// Estimates, and what their uncertainty is computed from.
#[derive(Clone, Debug)]
pub struct Fit {
    models: usize,
    /// The models' r, the position effect, the log-weight of a tie.
    pub(crate) parameters: Vec<f64>,
    shares: Vec<f64>,
    raters: Vec<Reliability>,
    /// Per answer: the probability that it follows the images.
    pub(crate) weights: Vec<f64>,
    /// Variances of the parameters.
    pub(crate) clusters: Clusters,
    answers: usize,
}

/// Fits all answers from scratch.
#[must_use]
pub fn fit(answers: &Answers, weighting: Weighting) -> Fit {
    solve(answers, weighting, None, [1e-5, PRIOR_PRECISION])
}

/// As [`fit`], starting from the fit of most of these answers, and precise to a few rating points.
#[must_use]
pub fn fit_from(answers: &Answers, weighting: Weighting, before: &Fit) -> Fit {
    solve(answers, weighting, Some(before), [1e-2, PRIOR_PRECISION])
}

/// `precise`: a step that is shorter is not taken. `precision`: that of the prior.
fn solve(
    answers: &Answers,
    weighting: Weighting,
    before: Option<&Fit>,
    [precise, precision]: [f64; 2],
) -> Fit {
    let by_reliability = weighting == Weighting::ByReliability;
    let mut shares = expected_shares();
    let mut parameters = vec![0.0; answers.models + 2];
    parameters[answers.models + 1] = TIE;
    if let Some(before) = before.filter(|before| before.models == answers.models) {
        parameters.clone_from(&before.parameters);
        shares.clone_from(&before.shares);
    }
    let mut evaluated = Evaluated::new(answers, &parameters, by_reliability);
    let mut weighed = evaluated.weighed(answers, &shares);
    for _ in 0..STEPS {
        if by_reliability {
            shares = reliability::shares(weighed.raters.iter());
        }
        let step = step(&evaluated, &weighed, &parameters, precision);
        let longest = step.iter().fold(0.0_f64, |longest, s| longest.max(s.abs()));
        if longest < precise {
            break;
        }
        let here = evaluated.log_likelihood(&shares) + log_prior(&parameters, precision);
        let mut scale = (LONGEST_STEP / longest).min(1.0);
        loop {
            let moved: Vec<f64> = parameters.iter().zip(&step).map(|(p, s)| p + scale * s).collect();
            evaluated.move_to(answers, &moved, by_reliability);
            if scale < 1e-4 || evaluated.log_likelihood(&shares) + log_prior(&moved, precision) >= here - 1e-9
            {
                parameters = moved;
                break;
            }
            scale /= 2.0;
        }
        weighed = evaluated.weighed(answers, &shares);
    }
    let mean = parameters[..answers.models].iter().sum::<f64>() / answers.models.max(1) as f64;
    parameters[..answers.models].iter_mut().for_each(|r| *r -= mean);
    let clusters = Clusters::new(answers, &evaluated, &weighed, parameters.len(), precision);
    let Weighed { raters, weights, .. } = weighed;
    let raters = raters.iter().map(summary).collect();
    Fit { models: answers.models, parameters, shares, raters, weights, clusters, answers: answers.len() }
}

fn log_prior(parameters: &[f64], precision: f64) -> f64 {
    let tie = parameters.len() - 1;
    let squares: f64 = parameters[..tie].iter().map(|p| p * p).sum();
    -0.5 * precision * (squares + (parameters[tie] - TIE).powi(2))
}

/// A step of Newton's method on the weighted log-posterior.
fn step(evaluated: &Evaluated, weighed: &Weighed, parameters: &[f64], precision: f64) -> Vec<f64> {
    let tie = parameters.len() - 1;
    let mut gradient: Vec<f64> = parameters.iter().map(|p| -precision * p).collect();
    gradient[tie] += precision * TIE;
    let mut information = vec![vec![0.0; parameters.len()]; parameters.len()];
    for (index, row) in information.iter_mut().enumerate() {
        row[index] = precision;
    }
    for (answer, weight) in evaluated.answers.iter().zip(&weighed.weights) {
        for a in 0..answer.count {
            gradient[answer.indices[a]] += weight * answer.score[a];
            for b in 0..answer.count {
                information[answer.indices[a]][answer.indices[b]] += weight * answer.information[a][b];
            }
        }
    }
    Cholesky::new(information).solve(gradient)
}

impl Fit {
    /// Number of models.
    #[must_use]
    pub fn models(&self) -> usize {
        self.models
    }

    /// Number of answers.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.answers
    }

    /// Every model's r, with mean 0: a difference of ln 10 is 400 points.
    #[must_use]
    pub fn ratings(&self) -> &[f64] {
        &self.parameters[..self.models]
    }

    /// What is known of each rater; empty with [`Weighting::Plain`].
    #[must_use]
    pub fn raters(&self) -> &[Reliability] {
        &self.raters
    }

    /// The models in order of their ratings, best first.
    #[must_use]
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.models).collect();
        order.sort_by(|&a, &b| self.parameters[b].total_cmp(&self.parameters[a]));
        order
    }

    /// The share of ties among answers about two images of equal models.
    #[must_use]
    pub fn tie_share(&self) -> f64 {
        let tie = self.parameters[self.models + 1].exp();
        tie / (2.0 + tie)
    }
}

#[cfg(test)]
mod tests;
