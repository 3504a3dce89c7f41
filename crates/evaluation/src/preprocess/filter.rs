//! Pillow's filters and the weights that they give (`Resample.c`, `precompute_coeffs`).

use std::ops::Range;

/// A filter of Pillow's resizing. When an image shrinks, each is widened by the factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The mean of what falls into a pixel.
    Box,
    /// A triangle.
    Bilinear,
    /// Keys' cubic with a = -0.5.
    Bicubic,
    /// A windowed sinc of three lobes.
    Lanczos,
}

impl Filter {
    /// Beyond this distance it is zero.
    fn support(self) -> f64 {
        match self {
            Self::Box => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        match self {
            // Open on the left, so that a pixel on the border counts once.
            Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => {
                const A: f64 = -0.5;
                let x = x.abs();
                if x < 1.0 {
                    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * A
                } else {
                    0.0
                }
            }
            Self::Lanczos => {
                if (-3.0..3.0).contains(&x) {
                    sinc(x) * sinc(x / 3.0)
                } else {
                    0.0
                }
            }
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// For each output of one dimension, which inputs it reads and with what weights.
pub(super) struct Taps {
    /// First input and place of the weights, one more than there are outputs.
    outputs: Vec<(usize, usize)>,
    weights: Vec<f64>,
}

impl Taps {
    /// Of the outputs `range` of a dimension resized from `from` to `to`.
    pub(super) fn new(filter: Filter, from: usize, to: usize, range: Range<usize>) -> Self {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let mut taps = Self { outputs: Vec::with_capacity(range.len() + 1), weights: Vec::new() };
        for i in range {
            let center = (i as f64 + 0.5) * scale;
            // Casts cut towards zero, and what is below zero becomes zero.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let place = taps.weights.len();
            taps.outputs.push((first, place));
            taps.weights.extend((first..end).map(|x| filter.at((x as f64 - center + 0.5) * (1.0 / stretch))));
            let sum: f64 = taps.weights[place..].iter().sum();
            if sum != 0.0 {
                taps.weights[place..].iter_mut().for_each(|w| *w /= sum);
            }
        }
        taps.outputs.push((0, taps.weights.len()));
        taps
    }

    pub(super) fn len(&self) -> usize {
        self.outputs.len() - 1
    }

    /// The weights as numbers of 1 / 2^22, in the same places.
    pub(super) fn fixed(&self) -> Vec<i32> {
        let one = f64::from(1 << PRECISION);
        self.weights
            .iter()
            .map(|&w| if w < 0.0 { (-0.5 + w * one) as i32 } else { (0.5 + w * one) as i32 })
            .collect()
    }

    pub(super) fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The first input of output `i`, and where its weights lie.
    pub(super) fn of(&self, i: usize) -> (usize, Range<usize>) {
        let (first, place) = self.outputs[i];
        (first, place..self.outputs[i + 1].1)
    }

    /// All inputs that are read.
    pub(super) fn inputs(&self) -> Range<usize> {
        let all = (0..self.len()).map(|i| self.of(i));
        all.map(|(first, places)| first..first + places.len())
            .reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
            .unwrap_or(0..0)
    }
}

/// Bits of the weights' fractions for 8 bit samples: 32 less 8 of the sample less 2 for overshoot.
pub(super) const PRECISION: u32 = 22;
