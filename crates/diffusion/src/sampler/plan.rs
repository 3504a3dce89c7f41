//! A sampler as a list of coefficients. In every sampler, the result of a step is a linear combination of earlier latents and
//! predictions, and in some also of new noise. The coefficients depend only on the noise schedule and the number of steps, so
//! they are computed in `f64` before denoising starts.

use std::ops::{Add, Mul, Sub};

/// The steps of a sampler.
#[derive(Debug)]
pub(super) struct Plan {
    /// Standard deviation of the initial noise.
    pub(super) initial_deviation: f64,
    /// From the noisiest on.
    pub(super) steps: Vec<Step>,
}

/// One evaluation of the network and the update of the latents.
#[derive(Debug)]
pub(super) struct Step {
    /// The timestep that the network gets; not always a whole number.
    pub(super) timestep: f64,
    /// The factor that scales the latents for the network.
    pub(super) input_scale: f64,
    /// Corrected latents of this step, for later combinations.
    pub(super) corrected: Option<Combination>,
    /// The next latents.
    pub(super) next: Combination,
    /// Standard deviation of the noise that is added to the next latents.
    pub(super) added_noise: f64,
}

impl Step {
    /// A step without input scaling, correction and added noise.
    pub(super) fn plain(timestep: f64, next: Combination) -> Self {
        Self { timestep, input_scale: 1.0, corrected: None, next, added_noise: 0.0 }
    }
}

/// A tensor in a linear combination, with the step, counted from 0, that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// The latents before a step.
    Latents(usize),
    /// The network's prediction for these latents.
    Prediction(usize),
    /// [`Step::corrected`].
    Corrected(usize),
}

/// A linear combination of operands, each of which occurs once.
#[derive(Clone, Debug)]
pub(super) struct Combination(pub(super) Vec<(Operand, f64)>);

impl From<Operand> for Combination {
    fn from(operand: Operand) -> Self {
        Self(vec![(operand, 1.0)])
    }
}

impl Mul<f64> for Combination {
    type Output = Self;
    fn mul(mut self, by: f64) -> Self {
        self.0.iter_mut().for_each(|(_, weight)| *weight *= by);
        self
    }
}

impl Add for Combination {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        for (operand, weight) in other.0 {
            match self.0.iter_mut().find(|(known, _)| *known == operand) {
                Some((_, known)) => *known += weight,
                None => self.0.push((operand, weight)),
            }
        }
        self
    }
}

impl Sub for Combination {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + other * -1.0
    }
}
