//! Bradley-Terry ratings with intervals (R. Bradley and M. Terry, Rank Analysis of Incomplete Block Designs, 1952).
//!
//! P(a beats b) = s(r_a - r_b) with s the logistic function; r is estimated by maximum likelihood. A tie, or "both
//! bad", counts as half a win for each. Ratings are shown as 1000 + 400 / ln 10 * r: 400 points are odds of 10 to 1,
//! and the mean of all models is 1000.
//!
//! Two departures from the plain estimate, both for few votes:
//! - A weak Gaussian prior of mean 0 on every r ([`PRIOR_PRECISION`]). Without it the rating of an undefeated model
//!   is infinite, and models that were never compared, directly or through others, have no common scale.
//! - The variance is the larger of the sandwich estimate, H^-1 B H^-1, which holds even if the model is wrong, and
//!   the model's own, H^-1. After two or three votes that agree, the residuals in B almost vanish, and the sandwich
//!   estimate alone would be far too certain.

use super::cholesky::Cholesky;
use super::tally::Tally;
use super::win_rate::{WinRate, Z, win_rate_of};
use crate::id::ContestantId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Bradley-Terry rating on the Elo scale, on which the mean of all models is 1000.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// The estimate.
    pub value: f64,
    /// Lower end of the 95% interval.
    pub low: f64,
    /// Upper end of the 95% interval.
    pub high: f64,
}

/// A model's place among those with votes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// The model.
    pub model: ContestantId,
    /// 1 + the number of models whose whole interval is above this one's.
    pub rank: u32,
    /// Its rating.
    pub rating: Rating,
    /// Its win rate over all its votes.
    pub win_rate: WinRate,
}

/// Precision (1 / variance) of the prior on r: a standard deviation of 3.2, or 550 points. It weighs about as much as
/// one vote, so a hundred votes outweigh it. A larger precision pulls ratings closer together.
const PRIOR_PRECISION: f64 = 0.1;

/// Every model with at least one vote, best rating first.
#[must_use]
pub fn standings(tallies: &[Tally]) -> Vec<Standing> {
    let comparisons = Comparisons::new(tallies);
    let ratings: Vec<Rating> = comparisons.estimate(PRIOR_PRECISION).iter().map(Estimate::rating).collect();
    let mut standings: Vec<Standing> = (comparisons.models.iter().zip(&ratings))
        .zip(ranks(&ratings))
        .filter_map(|((&model, &rating), rank)| {
            Some(Standing { model, rank, rating, win_rate: win_rate_of(model, tallies)? })
        })
        .collect();
    standings.sort_by(|x, y| y.rating.value.total_cmp(&x.rating.value).then(x.model.cmp(&y.model)));
    standings
}

/// For each rating, 1 + the number of ratings whose lower end exceeds its upper end.
fn ranks(ratings: &[Rating]) -> Vec<u32> {
    let above = |mine: &Rating| (1..).zip(ratings.iter().filter(|other| other.low > mine.high)).last();
    ratings.iter().map(|mine| 1 + above(mine).map_or(0, |(count, _)| count)).collect()
}

/// The estimate of a model's r.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    r: f64,
    standard_error: f64,
}

impl Estimate {
    fn rating(&self) -> Rating {
        let points = |r: f64| 1000.0 + 400.0 / std::f64::consts::LN_10 * r;
        let reach = Z * self.standard_error;
        Rating { value: points(self.r), low: points(self.r - reach), high: points(self.r + reach) }
    }
}

/// All votes, with the models numbered from 0 in the order of their ids.
struct Comparisons {
    models: Vec<ContestantId>,
    pairs: Vec<Pair>,
}

/// The counted votes on models i and j: for i, for j, for neither.
struct Pair {
    i: usize,
    j: usize,
    wins: f64,
    losses: f64,
    ties: f64,
}

impl Comparisons {
    fn new(tallies: &[Tally]) -> Self {
        let counts = |tally: &Tally| [tally.wins_a, tally.wins_b, tally.ties].map(|n| n.max(0) as f64);
        let judged = || tallies.iter().filter(|t| t.a != t.b && counts(t).iter().any(|&n| n > 0.0));
        let mut numbers: BTreeMap<ContestantId, usize> =
            judged().flat_map(|t| [(t.a, 0), (t.b, 0)]).collect();
        for (number, slot) in numbers.values_mut().enumerate() {
            *slot = number;
        }
        let pairs = judged().map(|tally| {
            let [wins, losses, ties] = counts(tally);
            Pair { i: numbers[&tally.a], j: numbers[&tally.b], wins, losses, ties }
        });
        Self { pairs: pairs.collect(), models: numbers.into_keys().collect() }
    }

    /// The maximum of the log-posterior, by Newton's method from 0. The log-posterior is strictly concave, so the
    /// maximum is unique, and halving steps that do not increase it guarantees convergence.
    fn estimate(&self, precision: f64) -> Vec<Estimate> {
        let n = self.models.len();
        let mut r = vec![0.0; n];
        for _ in 0..100 {
            let step = Cholesky::new(self.information(&r, precision)).solve(self.gradient(&r, precision));
            let longest = step.iter().fold(0.0_f64, |longest, s| longest.max(s.abs()));
            let here = self.log_posterior(&r, precision);
            let mut scale = 1.0;
            let moved = loop {
                let moved: Vec<f64> = r.iter().zip(&step).map(|(r, s)| r + scale * s).collect();
                if scale < 1e-9 || self.log_posterior(&moved, precision) >= here {
                    break moved;
                }
                scale /= 2.0;
            };
            r = moved;
            if longest < 1e-10 {
                break;
            }
        }
        // The prior centres r up to rounding; this removes the rounding.
        let mean = r.iter().sum::<f64>() / n.max(1) as f64;
        r.iter_mut().for_each(|r| *r -= mean);
        let variances = self.variances(&r, precision);
        r.into_iter().zip(variances).map(|(r, v)| Estimate { r, standard_error: v.sqrt() }).collect()
    }

    fn log_posterior(&self, r: &[f64], precision: f64) -> f64 {
        let votes = self.pairs.iter().map(|pair| {
            let d = r[pair.i] - r[pair.j];
            (pair.wins + 0.5 * pair.ties) * log_logistic(d)
                + (pair.losses + 0.5 * pair.ties) * log_logistic(-d)
        });
        votes.sum::<f64>() - 0.5 * precision * r.iter().map(|r| r * r).sum::<f64>()
    }

    fn gradient(&self, r: &[f64], precision: f64) -> Vec<f64> {
        let mut gradient: Vec<f64> = r.iter().map(|r| -precision * r).collect();
        for pair in &self.pairs {
            let p = logistic(r[pair.i] - r[pair.j]);
            let residual = (pair.wins + 0.5 * pair.ties) * (1.0 - p) - (pair.losses + 0.5 * pair.ties) * p;
            gradient[pair.i] += residual;
            gradient[pair.j] -= residual;
        }
        gradient
    }

    /// H: the negative second derivatives of the log-posterior.
    fn information(&self, r: &[f64], precision: f64) -> Vec<Vec<f64>> {
        let n = r.len();
        let mut h = vec![vec![0.0; n]; n];
        for (i, row) in h.iter_mut().enumerate() {
            row[i] = precision;
        }
        for Pair { i, j, wins, losses, ties } in &self.pairs {
            let p = logistic(r[*i] - r[*j]);
            let weight = (wins + losses + ties) * p * (1.0 - p);
            h[*i][*i] += weight;
            h[*j][*j] += weight;
            h[*i][*j] -= weight;
            h[*j][*i] -= weight;
        }
        h
    }

    /// The variance of each r about the mean of all: the larger of the sandwich's and the model's (see the module's
    /// docs).
    fn variances(&self, r: &[f64], precision: f64) -> Vec<f64> {
        let n = r.len();
        let inverse = self.inverse_information(r, precision);
        let mean = 1.0 / ((1.0 + precision) * n as f64);
        // B = sum over votes of (y - p)^2 d d' with d = e_i - e_j, so that H^-1 B H^-1 needs two columns per pair.
        let mut sandwich = vec![0.0; n];
        for pair in &self.pairs {
            let p = logistic(r[pair.i] - r[pair.j]);
            let squares = pair.wins * (1.0 - p).powi(2) + pair.losses * p * p + pair.ties * (0.5 - p).powi(2);
            for (k, variance) in sandwich.iter_mut().enumerate() {
                *variance += squares * (inverse[k][pair.i] - inverse[k][pair.j]).powi(2);
            }
        }
        (0..n).map(|k| sandwich[k].max(inverse[k][k] - mean).max(0.0)).collect()
    }

    /// The inverse of H + 1 1^T / n. Votes contain no information on the mean of all r; only the prior does, so H
    /// alone is nearly singular in that direction. The scale fixes the mean, so `variances` subtracts its variance,
    /// which is 1 / (1 + precision) here. The differences of columns in the sandwich estimate do not depend on it.
    fn inverse_information(&self, r: &[f64], precision: f64) -> Vec<Vec<f64>> {
        let mut information = self.information(r, precision);
        information.iter_mut().flatten().for_each(|h| *h += 1.0 / r.len() as f64);
        Cholesky::new(information).inverse()
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// ln s(x) without overflow for large |x|.
fn log_logistic(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests;
