//! Estimates with intervals: for one look, and for any number of looks.
//!
//! The interval for any number of looks is that of H. Robbins and D. Siegmund (1970): a Brownian motion W of information
//! t stays below sqrt(t (a^2 + ln(t / t0))) at all t >= t0 with probability 1 - 2 (1 - Phi(a) + a phi(a)). Estimates from
//! growing data are such a motion in the limit (A. Bibaut, N. Kallus and M. Lindon, 2022), with 1 / variance for t. At t0,
//! with a standard error of [`START_ERROR`], the limit is good. Before t0 the interval is much wider, for W below
//! [`EARLY`] sqrt(t0). Only a difference above [`FAR`], such as that to a model that always loses, has the interval for one
//! look there: its standard error grows with it (W. Hauck and A. Donner, 1977) and hardly falls with more answers.

use crate::fit::Fit;
use domain::ranking::Z;

/// The standard error, in r, above which an estimate is preliminary: 104 points.
pub const START_ERROR: f64 = 0.6;

/// W leaves this many sqrt(t0) before t0 with a probability of at most 4 (1 - Phi(3.5)) = 0.1%, by the reflection principle.
const EARLY: f64 = 3.5;

/// A difference of 92 wins in 100. Two equal models hardly ever seem to have it, as a test computes.
const FAR: f64 = 2.5;

/// The a for which the error over all looks is 5%.
const A: f64 = 2.795_483_482_915_107;

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

    /// The 95% interval that holds at all looks together.
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
            (A * A + growth.ln()).sqrt()
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
