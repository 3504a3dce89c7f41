//! A sampler as numbers. Whatever its theory, each step ends in a weighted sum of latents and predictions that are
//! known by then, and perhaps of fresh noise; the weights follow from the noise schedule and the number of steps alone.
//! So a sampler is arithmetic in f64, done before the first tensor is there.

use std::ops::{Add, Mul, Sub};

/// What a sampler does for a number of steps.
#[derive(Debug)]
pub(super) struct Plan {
    /// Deviation of the noise that it starts from.
    pub(super) initial_deviation: f64,
    /// First (noisiest) to last.
    pub(super) steps: Vec<Step>,
}

/// One evaluation of the network and what follows from it.
#[derive(Debug)]
pub(super) struct Step {
    /// As the network is told it.
    pub(super) timestep: f64,
    /// The network sees the latents times this.
    pub(super) input_scale: f64,
    /// Better latents in place of those that the network saw, for later sums.
    pub(super) corrected: Option<Row>,
    /// The next latents.
    pub(super) next: Row,
    /// Deviation of the fresh noise that is added to them.
    pub(super) fresh_noise: f64,
}

impl Step {
    /// A step that feeds the network the latents as they are, corrects nothing and adds no noise.
    pub(super) fn plain(timestep: f64, next: Row) -> Self {
        Self { timestep, input_scale: 1.0, corrected: None, next, fresh_noise: 0.0 }
    }
}

/// A tensor that a sum may draw on, by the step (from 0) at which it came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The latents before a step.
    Latents(usize),
    /// What the network predicted for them.
    Prediction(usize),
    /// [`Step::corrected`].
    Corrected(usize),
}

/// A weighted sum of sources, each named once.
#[derive(Clone, Debug)]
pub(super) struct Row(pub(super) Vec<(Source, f64)>);

impl From<Source> for Row {
    fn from(source: Source) -> Self {
        Self(vec![(source, 1.0)])
    }
}

impl Mul<f64> for Row {
    type Output = Self;
    fn mul(mut self, by: f64) -> Self {
        self.0.iter_mut().for_each(|(_, weight)| *weight *= by);
        self
    }
}

impl Add for Row {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        for (source, weight) in other.0 {
            match self.0.iter_mut().find(|(known, _)| *known == source) {
                Some((_, known)) => *known += weight,
                None => self.0.push((source, weight)),
            }
        }
        self
    }
}

impl Sub for Row {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + other * -1.0
    }
}
