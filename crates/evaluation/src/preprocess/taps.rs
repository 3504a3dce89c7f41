//! The weights of Pillow's bicubic filter (`Resample.c`, `precompute_coeffs`). When an image shrinks, the filter is
//! stretched by the factor.

use std::ops::Range;

/// Keys' cubic with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < SUPPORT {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// The distance beyond which [`cubic`] is zero.
const SUPPORT: f64 = 2.0;

/// The inputs and weights of each output along one dimension.
pub(super) struct Taps {
    /// First input and index of the first weight of each output; a last entry holds the number of weights.
    outputs: Vec<(usize, usize)>,
    weights: Vec<f64>,
}

impl Taps {
    /// Taps of the outputs `range` of a dimension resized from `from` to `to` samples.
    pub(super) fn new(from: usize, to: usize, range: Range<usize>) -> Self {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = SUPPORT * stretch;
        let mut taps = Self { outputs: Vec::with_capacity(range.len() + 1), weights: Vec::new() };
        for i in range {
            let center = (i as f64 + 0.5) * scale;
            // The casts truncate, and negative values become 0.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let index = taps.weights.len();
            taps.outputs.push((first, index));
            taps.weights.extend((first..end).map(|x| cubic((x as f64 - center + 0.5) * (1.0 / stretch))));
            let sum: f64 = taps.weights[index..].iter().sum();
            if sum != 0.0 {
                taps.weights[index..].iter_mut().for_each(|w| *w /= sum);
            }
        }
        taps.outputs.push((0, taps.weights.len()));
        taps
    }

    pub(super) fn len(&self) -> usize {
        self.outputs.len() - 1
    }

    /// The weights in units of 2^-22, in the same order.
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

    /// The first input of output `i`, and the indices of its weights.
    pub(super) fn of(&self, i: usize) -> (usize, Range<usize>) {
        let (first, index) = self.outputs[i];
        (first, index..self.outputs[i + 1].1)
    }

    /// The range of inputs that any output reads.
    pub(super) fn inputs(&self) -> Range<usize> {
        let all = (0..self.len()).map(|i| self.of(i));
        all.map(|(first, indices)| first..first + indices.len())
            .reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
            .unwrap_or(0..0)
    }
}

/// Fraction bits of the fixed-point weights for 8 bit samples: 32 minus 8 for the sample and 2 for overshoot.
pub(super) const PRECISION: u32 = 22;
