//! Pillow's bicubic `Image.resize` (`Resample.c`): resizes rows, rounds to the sample type, then resizes columns. The
//! results equal those of Pillow up to version 12 bit for bit. Pillow 13 resizes the columns of some shapes first
//! (never from square to square), which differs by some levels where intermediate values are clipped; the published
//! scorers and figures are older.

use super::taps::{PRECISION, Taps};
use rayon::prelude::*;

/// The part of a resized image that is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Left column.
    pub(crate) x: usize,
    /// Top row.
    pub(crate) y: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Window {
    /// The whole of an image of this size, (width, height).
    pub(crate) fn whole((width, height): (usize, usize)) -> Self {
        Self { x: 0, y: 0, width, height }
    }
}

/// Resizes an image of 1 to 4 interleaved channels of 8 bits from one (width, height) to another and returns a window
/// of the result. As in Pillow, all channels are treated alike: colours must be multiplied by alpha before.
///
/// # Panics
/// Panics if `values` has another length than the size requires, or if the window exceeds the result.
pub(super) fn resize_u8(
    values: &[u8],
    channels: usize,
    from: (usize, usize),
    to: (usize, usize),
    window: Window,
) -> Vec<u8> {
    match channels {
        1 => resize::<u8, 1>(values, from, to, window),
        2 => resize::<u8, 2>(values, from, to, window),
        3 => resize::<u8, 3>(values, from, to, window),
        _ => {
            assert_eq!(channels, 4, "an image has 1 to 4 channels");
            resize::<u8, 4>(values, from, to, window)
        }
    }
}

/// Resizes one channel of floats without rounding or clipping, as Pillow's mode F.
///
/// # Panics
/// As [`resize_u8`].
pub(crate) fn resize_f32(
    values: &[f32],
    from: (usize, usize),
    to: (usize, usize),
    window: Window,
) -> Vec<f32> {
    resize::<f32, 1>(values, from, to, window)
}

/// Resizes one channel of 16 bit samples, as Pillow's mode I;16.
///
/// # Panics
/// As [`resize_u8`].
pub(super) fn resize_u16(
    values: &[u16],
    from: (usize, usize),
    to: (usize, usize),
    window: Window,
) -> Vec<u16> {
    resize::<u16, 1>(values, from, to, window)
}

/// Resizes by nearest neighbour, as Pillow does for palette and one-bit images whatever the filter. Coordinates are
/// accumulated step by step as in `ImagingScaleAffine`, because rounding decides ties.
///
/// # Panics
/// As [`resize_u8`].
pub(super) fn resize_nearest(
    values: &[u8],
    from: (usize, usize),
    to: (usize, usize),
    window: Window,
) -> Vec<u8> {
    check(values.len(), from, to, window, 1);
    let nearest = |from: usize, to: usize, first: usize, count: usize| -> Vec<usize> {
        let step = from as f64 / to as f64;
        let mut at = step * 0.5;
        let mut indices = Vec::with_capacity(count);
        for i in 0..first + count {
            if i >= first {
                indices.push((at as usize).min(from - 1));
            }
            at += step;
        }
        indices
    };
    let columns = nearest(from.0, to.0, window.x, window.width);
    let rows = nearest(from.1, to.1, window.y, window.height);
    rows.iter().flat_map(|y| columns.iter().map(move |x| values[y * from.0 + x])).collect()
}

/// A type of samples with Pillow's arithmetic for it.
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
    /// Rounds half away from zero. As in Pillow, the two bytes are clipped separately, so that 65600 becomes 255 x 256
    /// + 64.
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
) -> Vec<S> {
    check(values.len(), from, to, window, CHANNELS);
    let vertical = (from.1 != to.1).then(|| Taps::new(from.1, to.1, window.y..window.y + window.height));
    let rows = vertical.as_ref().map_or(window.y..window.y + window.height, Taps::inputs);
    let values = &values[rows.start * from.0 * CHANNELS..rows.end * from.0 * CHANNELS];
    let columns = window.x..window.x + window.width;
    let wide = if from.0 == to.0 {
        let parts = values.chunks_exact(from.0 * CHANNELS);
        parts.flat_map(|row| &row[columns.start * CHANNELS..columns.end * CHANNELS]).copied().collect()
    } else {
        across::<S, CHANNELS>(values, from.0, &Taps::new(from.0, to.0, columns))
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
            let (first, indices) = taps.of(i);
            let mut sums = [S::START; CHANNELS];
            let pixels = from[first * CHANNELS..].chunks_exact(CHANNELS);
            for (pixel, &weight) in pixels.zip(&weights[indices]) {
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

/// Resizes every column. A row has `length` samples; the first row of `values` is row `first` of the image.
fn down<S: Sample>(values: &[S], length: usize, first: usize, taps: &Taps) -> Vec<S> {
    let weights = S::weights(taps);
    let mut resized = vec![S::default(); taps.len() * length];
    let rows = resized.par_chunks_mut(length).enumerate().with_min_len(8);
    rows.for_each_init(
        || vec![S::START; length],
        |sums, (i, to)| {
            let (row, indices) = taps.of(i);
            sums.fill(S::START);
            for (from, &weight) in
                values[(row - first) * length..].chunks_exact(length).zip(&weights[indices])
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
