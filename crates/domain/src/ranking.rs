//! Ratings, win rates and their intervals from tallies of votes: pure arithmetic.
//!
//! The rating is Bradley-Terry's by maximum likelihood: P(a beats b) = s(r_a - r_b) with s the logistic function; a
//! tie, or "both bad", counts as half a win each. It is shown as 1000 + 400 / ln 10 * r, so that 400 points are odds
//! of 10 to 1, with the mean of all models at 1000.
//!
//! Two departures from the plain estimate, both for few votes:
//! - A weak Gaussian prior of mean 0 on every r (see [`PRIOR_PRECISION`]). Without it a model that never lost is
//!   infinitely good, and models that were never compared, directly or through others, have no common scale.
//! - The variance is the larger of the sandwich's, H^-1 B H^-1, which holds even if the model is wrong, and the
//!   model's own, H^-1. After two or three votes that agree the residuals in B all but vanish, and the sandwich alone
//!   would call the matter settled.

mod accuracy;
mod agreement;
mod bootstrap;
mod clustered;
mod correlation;
mod elo;
mod matrix;

pub use accuracy::{Predicted, best_tie_threshold, tie_aware_accuracy};
pub use agreement::{cohen_kappa, fleiss_kappa, krippendorff_alpha};
pub use bootstrap::{MeanInterval, bootstrap_ratings, paired_bootstrap};
pub use clustered::{clustered_standings, tallies};
pub use correlation::{kendall_tau_b, spearman};
pub use elo::{ELO_K, ELO_START, elo};
pub use matrix::{WinRateMatrix, win_rate_matrix};

use crate::api::{Rating, WinRate};
use crate::id::ModelId;
use crate::preference::Choice;
use std::collections::BTreeMap;

/// The votes on two models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// One model.
    pub a: ModelId,
    /// The other.
    pub b: ModelId,
    /// Votes for `a`.
    pub wins_a: i64,
    /// Votes for `b`.
    pub wins_b: i64,
    /// Votes for neither: ties, and "both bad".
    pub ties: i64,
}

/// What a vote says of the first and the second model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The first is better.
    First,
    /// The second is better.
    Second,
    /// Neither: a tie, or "both bad".
    Neither,
}

impl Outcome {
    /// The same, with the two exchanged.
    #[must_use]
    pub fn turned(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Neither => Self::Neither,
        }
    }
}

impl From<Choice> for Outcome {
    /// Of the left and the right image.
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Left => Self::First,
            Choice::Right => Self::Second,
            Choice::Tie | Choice::BothBad => Self::Neither,
        }
    }
}

/// One vote on two models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelVote {
    /// One model.
    pub a: ModelId,
    /// The other.
    pub b: ModelId,
    /// For which of them.
    pub outcome: Outcome,
}

/// How one model stands among those that were judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// The model.
    pub model: ModelId,
    /// 1 + the number of models whose interval lies wholly above this one's.
    pub rank: u32,
    /// Its rating.
    pub rating: Rating,
    /// Its win rate over all votes it took part in.
    pub win_rate: WinRate,
}

/// Precision (1 / variance) of the prior on r: a standard deviation of 3.2, or 550 points. One vote weighs about as
/// much; against a hundred votes it is lost in the noise. Larger pulls ratings closer together.
pub const PRIOR_PRECISION: f64 = 0.1;

/// The 97.5% quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Every model with at least one vote, best rating first.
#[must_use]
pub fn standings(tallies: &[Tally]) -> Vec<Standing> {
    let votes = Votes::new(tallies);
    let estimates = votes.estimate(PRIOR_PRECISION);
    sorted_standings(&votes, &estimates, tallies)
}

fn sorted_standings(votes: &Votes, estimates: &[Estimate], tallies: &[Tally]) -> Vec<Standing> {
    let ratings: Vec<Rating> = estimates.iter().map(Estimate::rating).collect();
    let mut standings: Vec<Standing> = (votes.models.iter().zip(&ratings))
        .zip(ranks(&ratings))
        .filter_map(|((&model, &rating), rank)| {
            Some(Standing { model, rank, rating, win_rate: win_rate_of(model, tallies)? })
        })
        .collect();
    standings.sort_by(|x, y| y.rating.value.total_cmp(&x.rating.value).then(x.model.cmp(&y.model)));
    standings
}

/// 1 + the number of ratings whose lower end exceeds each one's upper end.
#[must_use]
pub fn ranks(ratings: &[Rating]) -> Vec<u32> {
    let above = |mine: &Rating| (1..).zip(ratings.iter().filter(|other| other.low > mine.high)).last();
    ratings.iter().map(|mine| 1 + above(mine).map_or(0, |(count, _)| count)).collect()
}

/// A model's win rate against all others; none without votes.
#[must_use]
pub fn win_rate_of(model: ModelId, tallies: &[Tally]) -> Option<WinRate> {
    let (mut wins, mut losses, mut ties) = (0, 0, 0);
    for tally in tallies.iter().filter(|tally| tally.a != tally.b) {
        if tally.a == model {
            (wins, losses, ties) = (wins + tally.wins_a, losses + tally.wins_b, ties + tally.ties);
        } else if tally.b == model {
            (wins, losses, ties) = (wins + tally.wins_b, losses + tally.wins_a, ties + tally.ties);
        }
    }
    win_rate(wins, losses, ties)
}

/// Wins plus half the ties over all votes, with Wilson's 95% interval; none without votes.
#[must_use]
pub fn win_rate(wins: i64, losses: i64, ties: i64) -> Option<WinRate> {
    let (wins, losses, ties) = (wins.max(0), losses.max(0), ties.max(0));
    let votes = wins + losses + ties;
    if votes == 0 {
        return None;
    }
    let n = votes as f64;
    let value = (wins as f64 + 0.5 * ties as f64) / n;
    let shrink = 1.0 + Z * Z / n;
    let centre = (value + Z * Z / (2.0 * n)) / shrink;
    let half_width = Z * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt() / shrink;
    // At 0 and 1 the interval ends there exactly; rounding must not carry it beyond.
    let (low, high) = ((centre - half_width).clamp(0.0, value), (centre + half_width).clamp(value, 1.0));
    Some(WinRate { value, low, high, votes })
}

/// A model's r with its standard error.
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

/// Votes on models numbered from 0.
struct Votes {
    models: Vec<ModelId>,
    pairs: Vec<Pair>,
}

/// All votes on models i and j: for i, for j, for neither.
struct Pair {
    i: usize,
    j: usize,
    wins: f64,
    losses: f64,
    ties: f64,
}

impl Votes {
    fn new(tallies: &[Tally]) -> Self {
        let counts = |tally: &Tally| [tally.wins_a, tally.wins_b, tally.ties].map(|n| n.max(0) as f64);
        let judged = || tallies.iter().filter(|t| t.a != t.b && counts(t).iter().any(|&n| n > 0.0));
        let mut numbers: BTreeMap<ModelId, usize> = judged().flat_map(|t| [(t.a, 0), (t.b, 0)]).collect();
        for (number, slot) in numbers.values_mut().enumerate() {
            *slot = number;
        }
        let pairs = judged().map(|tally| {
            let [wins, losses, ties] = counts(tally);
            Pair { i: numbers[&tally.a], j: numbers[&tally.b], wins, losses, ties }
        });
        Self { pairs: pairs.collect(), models: numbers.into_keys().collect() }
    }

    /// Newton's method from 0: the log-posterior is strictly concave, so there is one maximum, and halving steps that
    /// do not climb makes sure to reach it.
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
        // The prior centres r already; exactly so after this, whatever is left of rounding.
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

    /// H: minus the second derivatives of the log-posterior.
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

    /// The variance of each r about the mean of all: the larger of sandwich and model (see the module's text).
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

    /// H^-1. Votes say nothing of the mean of all r, of which H knows only the prior. The scale fixes the mean, so its
    /// variance is left out of the model's; adding 1 in that direction (to be taken off again as 1 / (1 + precision)
    /// where it counts) keeps the inverse exact for any precision.
    fn inverse_information(&self, r: &[f64], precision: f64) -> Vec<Vec<f64>> {
        let mut information = self.information(r, precision);
        information.iter_mut().flatten().for_each(|h| *h += 1.0 / r.len() as f64);
        Cholesky::new(information).inverse()
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// ln s(x), without overflow at either end.
fn log_logistic(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// The factor L of a symmetric positive definite matrix L L'.
struct Cholesky(Vec<Vec<f64>>);

impl Cholesky {
    fn new(mut a: Vec<Vec<f64>>) -> Self {
        for j in 0..a.len() {
            for i in j..a.len() {
                let sum = a[i][j] - (0..j).map(|k| a[i][k] * a[j][k]).sum::<f64>();
                a[i][j] = if i == j { sum.max(f64::MIN_POSITIVE).sqrt() } else { sum / a[j][j] };
            }
        }
        Self(a)
    }

    fn solve(&self, mut b: Vec<f64>) -> Vec<f64> {
        let l = &self.0;
        for i in 0..b.len() {
            b[i] = (b[i] - (0..i).map(|k| l[i][k] * b[k]).sum::<f64>()) / l[i][i];
        }
        for i in (0..b.len()).rev() {
            b[i] = (b[i] - (i + 1..b.len()).map(|k| l[k][i] * b[k]).sum::<f64>()) / l[i][i];
        }
        b
    }

    fn inverse(&self) -> Vec<Vec<f64>> {
        let n = self.0.len();
        let column = |j: usize| self.solve((0..n).map(|i| f64::from(u8::from(i == j))).collect());
        (0..n).map(column).collect()
    }
}

#[cfg(test)]
mod tests;
