//! Estimates with intervals: for one look, and for any number of looks.
//!
//! The interval for any number of looks is that of H. Robbins and D. Siegmund (1970): a Brownian motion W of information
//! t stays below sqrt(t (a^2 + ln(t / t0))) at all t >= t0 with probability 1 - 2 (1 - Phi(a) + a phi(a)). Estimates from
//! growing data are such a motion in the limit (A. Bibaut, N. Kallus and M. Lindon, 2022), with 1 / variance for t. At t0,
//! with a standard error of [`START_ERROR`], the limit is good; before it there is no such interval.

use crate::fit::Fit;
use domain::ranking::Z;

/// The standard error, in r, from which on the interval for any number of looks exists: 104 points.
pub const START_ERROR: f64 = 0.6;

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
    /// The estimate.
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
        self.reach(self.quantile)
    }

    /// The 95% interval that holds at all looks together; none while the estimate is preliminary.
    #[must_use]
    pub fn anytime(&self) -> Option<Interval> {
        self.anytime_multiplier(self.standard_error).map(|multiplier| self.reach(multiplier))
    }

    /// Half the width of [`Self::anytime`] in units of this standard error.
    pub(crate) fn anytime_multiplier(&self, standard_error: f64) -> Option<f64> {
        let growth = (START_ERROR / standard_error).powi(2);
        (growth >= 1.0).then(|| self.quantile / Z * (A * A + growth.ln()).sqrt())
    }

    fn reach(&self, multiplier: f64) -> Interval {
        let reach = multiplier * self.standard_error;
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
