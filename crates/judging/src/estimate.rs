//! Estimates with intervals: for one look, and for any number of looks.
//!
//! The interval for any number of looks takes the estimate for a Brownian motion W of information t = 1 / variance, which estimates from
//! growing data are in the limit (A. Bibaut, N. Kallus and M. Lindon, 2022; I. Waudby-Smith and others, 2024). Its multiple of the
//! standard error is tuned to the looks of a campaign, from t0, with a standard error of [`START_ERROR`], to [`RANGE`] t0: there it is
//! the constant [`A`], which W / sqrt(t) leaves with a probability of 5%. After that its square grows by [`GROWTH`] ln t, which adds 1.5% over
//! all later looks; a test computes both. An interval with 5% over all looks for ever (H. Robbins and D. Siegmund, 1970) keeps
//! 1.4% of it for looks that no campaign takes. Before t0 the interval is much wider, for W below [`EARLY`] sqrt(t0). Only a difference above
//! [`FAR`], such as that to a model that always loses, has the interval for one look there: its standard error grows with it (W. Hauck and
//! A. Donner, 1977) and hardly falls with more answers.

use crate::fit::Fit;
use domain::ranking::Z;

/// The standard error, in r, above which an estimate is preliminary: 104 points.
pub const START_ERROR: f64 = 0.6;

/// W leaves this many sqrt(t0) before t0 with a probability of at most 4 (1 - Phi(3.5)) = 0.1%, by the reflection principle.
const EARLY: f64 = 3.5;

/// A difference of 92 wins in 100. Two equal models hardly ever seem to have it, as a test computes.
const FAR: f64 = 2.5;

/// The information at the end of the range of looks, in that at its start: a standard error of 0.19, 33 points.
const RANGE: f64 = 10.0;

/// The multiple of the standard error for which the error over the range is 5%.
const A: f64 = 2.849_891;

/// Growth of the squared multiple with the logarithm of the information after the range.
const GROWTH: f64 = 2.0;

/// An interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// Whether it does not hold 0.
    #[must_use]
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// An estimate on the scale of r.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The most likely value, in log-odds.
    pub value: f64,
    /// The larger of the clustered standard error and the model's.
    pub standard_error: f64,
    /// Student's quantile for the effective number of raters or prompts, the smaller.
    pub quantile: f64,
}

impl Estimate {
    /// The 95% interval for one look at a time that does not depend on the answers.
    #[must_use]
    pub fn interval(&self) -> Interval {
        self.reach(self.quantile * self.standard_error)
    }

    /// The 95% interval that holds at all looks together: with an error of 5% until the standard error is 33 points, and of 6.5% for ever.
    #[must_use]
    pub fn anytime(&self) -> Interval {
        self.reach(self.anytime_reach(self.standard_error))
    }

    /// Whether there are too few answers for an interval that is of use.
    #[must_use]
    pub fn is_preliminary(&self) -> bool {
        self.standard_error > START_ERROR
    }

    /// Half the width of [`Self::anytime`] at another standard error.
    pub(crate) fn anytime_reach(&self, standard_error: f64) -> f64 {
        let growth = (START_ERROR / standard_error).powi(2);
        let multiplier = if growth >= 1.0 {
            multiple(growth)
        } else if self.value.abs() >= FAR {
            Z
        } else {
            EARLY * standard_error / START_ERROR
        };
        self.quantile / Z * multiplier * standard_error
    }

    fn reach(&self, reach: f64) -> Interval {
        Interval { low: self.value - reach, high: self.value + reach }
    }
}

/// The multiple of the standard error at `growth` t0, 1 or more.
fn multiple(growth: f64) -> f64 {
    (A * A + GROWTH * (growth / RANGE).ln().max(0.0)).sqrt()
}

impl Fit {
    /// r of model `a` minus r of model `b`.
    #[must_use]
    pub fn difference(&self, a: usize, b: usize) -> Estimate {
        self.contrast(&[(a, 1.0), (b, -1.0)])
    }

    /// r of a model minus the mean of all.
    #[must_use]
    pub fn rating(&self, model: usize) -> Estimate {
        let n = self.models() as f64;
        let contrast: Vec<(usize, f64)> =
            (0..self.models()).map(|other| (other, f64::from(u8::from(other == model)) - 1.0 / n)).collect();
        self.contrast(&contrast)
    }

    /// r of a model minus the mean of some models, such as those that a category has answers about.
    #[must_use]
    pub fn rating_among(&self, model: usize, models: &[usize]) -> Estimate {
        let n = models.len().max(1) as f64;
        let mut contrast: Vec<(usize, f64)> =
            models.iter().map(|&other| (other, f64::from(u8::from(other == model)) - 1.0 / n)).collect();
        if !models.contains(&model) {
            contrast.push((model, 1.0));
        }
        self.contrast(&contrast)
    }

    /// The log-odds of left over right for equal models.
    #[must_use]
    pub fn position(&self) -> Estimate {
        self.contrast(&[(self.models(), 1.0)])
    }

    fn contrast(&self, contrast: &[(usize, f64)]) -> Estimate {
        let value = contrast.iter().map(|&(index, x)| x * self.parameters[index]).sum();
        let (model, clustered) = self.clusters.variances(contrast);
        Estimate { value, standard_error: model.max(clustered).sqrt(), quantile: self.clusters.quantile }
    }
}

#[cfg(test)]
mod tests {
    use super::{RANGE, multiple};

    /// Points of the grid, and steps of the logarithm of the information.
    const POINTS: usize = 401;
    const STEP: f64 = 2e-3;

    /// The probability that a Brownian motion W leaves [-m sqrt(t), m sqrt(t)] between t0 and t0 e^`end`, with m = `multiple`(t / t0).
    /// x = W / sqrt(t) diffuses with drift -x / 2 in u = ln t; with y = x / m its density q has q_u = q_yy / (2 m^2) + ((1/2 + m'/m) y q)_y
    /// and is 0 at both ends. Crank and Nicolson's scheme.
    fn error(multiple: impl Fn(f64) -> f64, end: f64) -> f64 {
        let h = 2.0 / (POINTS - 1) as f64;
        let y: Vec<f64> = (0..POINTS).map(|i| -1.0 + h * i as f64).collect();
        let start = multiple(1.0);
        let density = |y: f64| (-(y * start).powi(2) / 2.0).exp() / std::f64::consts::TAU.sqrt() * start;
        let mut q: Vec<f64> = y.iter().map(|&y| density(y)).collect();
        (q[0], q[POINTS - 1]) = (0.0, 0.0);
        for step in 0..(end / STEP) as usize {
            let u = (step as f64 + 0.5) * STEP;
            let at = |u: f64| multiple(u.exp());
            let m = at(u);
            let drift = 0.5 + (at(u + 1e-6) - at(u - 1e-6)) / 2e-6 / m;
            let diffusion = 1.0 / (2.0 * m * m * h * h);
            let from_below = |i: usize| diffusion - drift * y[i - 1] / (2.0 * h);
            let from_above = |i: usize| diffusion + drift * y[i + 1] / (2.0 * h);
            // (1 - A du/2) new = (1 + A du/2) old, by elimination.
            let half = STEP / 2.0;
            let (mut upper, mut right) = (vec![0.0; POINTS], vec![0.0; POINTS]);
            for i in 1..POINTS - 1 {
                let old = q[i]
                    + half * (from_below(i) * q[i - 1] - 2.0 * diffusion * q[i] + from_above(i) * q[i + 1]);
                let pivot = 1.0 + half * 2.0 * diffusion + half * from_below(i) * upper[i - 1];
                upper[i] = -half * from_above(i) / pivot;
                right[i] = (old + half * from_below(i) * right[i - 1]) / pivot;
            }
            for i in (1..POINTS - 1).rev() {
                q[i] = right[i] - upper[i] * q[i + 1];
            }
        }
        1.0 - h * q.iter().sum::<f64>()
    }

    #[test]
    fn the_error_over_the_range_is_5_percent_and_6_and_a_half_for_ever() {
        let within = error(multiple, RANGE.ln());
        assert!((within - 0.05).abs() < 0.001, "{within}");
        let for_ever = error(multiple, 14.0);
        assert!((for_ever - 0.065).abs() < 0.001, "{for_ever}");
    }

    /// The scheme against a closed form: Robbins and Siegmund's boundary is crossed with a probability of 2 (1 - Phi(a) + a phi(a)), 5%.
    #[test]
    fn the_computation_agrees_with_robbins_and_siegmund() {
        let a: f64 = 2.795_483_482_915_107;
        let crossed = error(|growth| (a * a + growth.ln()).sqrt(), 14.0);
        assert!((crossed - 0.05).abs() < 0.001, "{crossed}");
        let within = error(|growth| (a * a + growth.ln()).sqrt(), RANGE.ln());
        assert!((within - 0.036).abs() < 0.001, "{within}");
    }
}
