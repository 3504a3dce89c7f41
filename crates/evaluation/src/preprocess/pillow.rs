//! Pillow's `Image.resize`: rows first, then columns, with what lies between rounded to the image's own type
//! (`Resample.c`). The same numbers as Pillow's to the last bit, up to its version 12. Since 13 it begins with the columns
//! for some shapes, never from square to square; what is clipped in between then makes a difference of some levels. The
//! published scorers and figures are older.

use super::filter::{Filter, PRECISION, Taps};
use rayon::prelude::*;

/// A part of a resized image: only that is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Left column.
    pub x: usize,
    /// Top row.
    pub y: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Window {
    /// All of an image of this size, (width, height).
    #[must_use]
    pub fn whole((width, height): (usize, usize)) -> Self {
        Self { x: 0, y: 0, width, height }
    }
}

/// Resizes an image of 8 bit samples, `channels` of them side by side, from one (width, height) to another, and returns
/// a window of the result. As in Pillow, samples are not told apart: alpha must have been multiplied in before.
///
/// # Panics
/// `values` are not of that size, or the window reaches beyond the result: the caller's mistake.
#[must_use]
pub fn resize_u8(
    values: &[u8],
    channels: usize,
    from: (usize, usize),
    to: (usize, usize),
    window: Window,
    filter: Filter,
) -> Vec<u8> {
    match channels {
        1 => resize::<u8, 1>(values, from, to, window, filter),
        2 => resize::<u8, 2>(values, from, to, window, filter),
        3 => resize::<u8, 3>(values, from, to, window, filter),
        _ => {
            assert_eq!(channels, 4, "an image has 1 to 4 channels");
            resize::<u8, 4>(values, from, to, window, filter)
        }
    }
}

/// Resizes one channel of floats, as Pillow's mode F: neither rounded nor clipped.
///
/// # Panics
/// As [`resize_u8`].
#[must_use]
pub fn resize_f32(
    values: &[f32],
    from: (usize, usize),
    to: (usize, usize),
    window: Window,
    filter: Filter,
) -> Vec<f32> {
    resize::<f32, 1>(values, from, to, window, filter)
}

/// Resizes one channel of 16 bit samples, as Pillow's mode I;16.
///
/// # Panics
/// As [`resize_u8`].
#[must_use]
pub fn resize_u16(
    values: &[u16],
    from: (usize, usize),
    to: (usize, usize),
    window: Window,
    filter: Filter,
) -> Vec<u16> {
    resize::<u16, 1>(values, from, to, window, filter)
}

/// The nearest samples, as Pillow resizes images with a palette and of one bit whatever the filter: coordinates are
/// summed up step by step (`ImagingScaleAffine`), which decides ties.
///
/// # Panics
/// As [`resize_u8`].
#[must_use]
pub fn resize_nearest(values: &[u8], from: (usize, usize), to: (usize, usize), window: Window) -> Vec<u8> {
    check(values.len(), from, to, window, 1);
    let places = |from: usize, to: usize, first: usize, count: usize| -> Vec<usize> {
        let step = from as f64 / to as f64;
        let mut at = step * 0.5;
        let mut places = Vec::with_capacity(count);
        for i in 0..first + count {
            if i >= first {
                places.push((at as usize).min(from - 1));
            }
            at += step;
        }
        places
    };
    let columns = places(from.0, to.0, window.x, window.width);
    let rows = places(from.1, to.1, window.y, window.height);
    rows.iter().flat_map(|y| columns.iter().map(move |x| values[y * from.0 + x])).collect()
}

/// A sample of an image, and how Pillow weighs such.
trait Sample: Copy + Default + Send + Sync {
    type Weight: Copy + Sync;
    type Sum: Copy + Send;
    const START: Self::Sum;
    fn weights(taps: &Taps) -> Vec<Self::Weight>;
    fn add(sum: Self::Sum, sample: Self, weight: Self::Weight) -> Self::Sum;
    fn finish(sum: Self::Sum) -> Self;
}

impl Sample for u8 {
    type Weight = i32;
    type Sum = i32;
    const START: i32 = 1 << (PRECISION - 1);
    fn weights(taps: &Taps) -> Vec<i32> {
        taps.fixed()
    }
    #[inline(always)]
    fn add(sum: i32, sample: u8, weight: i32) -> i32 {
        sum.wrapping_add(i32::from(sample).wrapping_mul(weight))
    }
    #[inline(always)]
    fn finish(sum: i32) -> u8 {
        (sum >> PRECISION).clamp(0, 255) as u8
    }
}

impl Sample for f32 {
    type Weight = f64;
    type Sum = f64;
    const START: f64 = 0.0;
    fn weights(taps: &Taps) -> Vec<f64> {
        taps.weights().to_vec()
    }
    #[inline(always)]
    fn add(sum: f64, sample: f32, weight: f64) -> f64 {
        sum + f64::from(sample) * weight
    }
    #[inline(always)]
    fn finish(sum: f64) -> f32 {
        sum as f32
    }
}

impl Sample for u16 {
    type Weight = f64;
    type Sum = f64;
    const START: f64 = 0.0;
    fn weights(taps: &Taps) -> Vec<f64> {
        taps.weights().to_vec()
    }
    #[inline(always)]
    fn add(sum: f64, sample: u16, weight: f64) -> f64 {
        sum + f64::from(sample) * weight
    }
    /// Rounded half away from zero. The two bytes are clipped one by one, so that an overshoot of 65600 becomes
    /// 255 x 256 + 64: Pillow's way.
    fn finish(sum: f64) -> u16 {
        let rounded = sum.round() as i32;
        let (low, high) = (rounded % 256, rounded >> 8);
        (low.clamp(0, 255) + (high.clamp(0, 255) << 8)) as u16
    }
}

fn check(length: usize, from: (usize, usize), to: (usize, usize), window: Window, channels: usize) {
    assert_eq!(length, from.0 * from.1 * channels, "samples of an image of {from:?}");
    assert!(
        window.x + window.width <= to.0 && window.y + window.height <= to.1 && length > 0,
        "a window {window:?} of an image of {to:?}"
    );
}

fn resize<S: Sample, const CHANNELS: usize>(
    values: &[S],
    from: (usize, usize),
    to: (usize, usize),
    window: Window,
    filter: Filter,
) -> Vec<S> {
    check(values.len(), from, to, window, CHANNELS);
    let vertical =
        (from.1 != to.1).then(|| Taps::new(filter, from.1, to.1, window.y..window.y + window.height));
    let rows = vertical.as_ref().map_or(window.y..window.y + window.height, Taps::inputs);
    let values = &values[rows.start * from.0 * CHANNELS..rows.end * from.0 * CHANNELS];
    let columns = window.x..window.x + window.width;
    let wide = if from.0 == to.0 {
        let parts = values.chunks_exact(from.0 * CHANNELS);
        parts.flat_map(|row| &row[columns.start * CHANNELS..columns.end * CHANNELS]).copied().collect()
    } else {
        across::<S, CHANNELS>(values, from.0, &Taps::new(filter, from.0, to.0, columns))
    };
    match vertical {
        None => wide,
        Some(taps) => down(&wide, window.width * CHANNELS, rows.start, &taps),
    }
}

/// Resizes every row of `width` pixels.
fn across<S: Sample, const CHANNELS: usize>(values: &[S], width: usize, taps: &Taps) -> Vec<S> {
    let weights = S::weights(taps);
    let rows = values.len() / (width * CHANNELS);
    let mut resized = vec![S::default(); rows * taps.len() * CHANNELS];
    let lines = resized.par_chunks_mut(taps.len() * CHANNELS).zip(values.par_chunks(width * CHANNELS));
    lines.with_min_len(16).for_each(|(to, from)| {
        for (i, to) in to.chunks_exact_mut(CHANNELS).enumerate() {
            let (first, places) = taps.of(i);
            let mut sums = [S::START; CHANNELS];
            let pixels = from[first * CHANNELS..].chunks_exact(CHANNELS);
            for (pixel, &weight) in pixels.zip(&weights[places]) {
                for c in 0..CHANNELS {
                    sums[c] = S::add(sums[c], pixel[c], weight);
                }
            }
            for c in 0..CHANNELS {
                to[c] = S::finish(sums[c]);
            }
        }
    });
    resized
}

/// Resizes every column; a row has `length` samples, and the first row is number `first` of the image.
fn down<S: Sample>(values: &[S], length: usize, first: usize, taps: &Taps) -> Vec<S> {
    let weights = S::weights(taps);
    let mut resized = vec![S::default(); taps.len() * length];
    let rows = resized.par_chunks_mut(length).enumerate().with_min_len(8);
    rows.for_each_init(
        || vec![S::START; length],
        |sums, (i, to)| {
            let (row, places) = taps.of(i);
            sums.fill(S::START);
            for (from, &weight) in values[(row - first) * length..].chunks_exact(length).zip(&weights[places])
            {
                for (sum, &sample) in sums.iter_mut().zip(from) {
                    *sum = S::add(*sum, sample, weight);
                }
            }
            to.iter_mut().zip(&*sums).for_each(|(to, &sum)| *to = S::finish(sum));
        },
    );
    resized
}
