//! One plane of pixels to a square, in the three ways of the reference packages.

/// torch's `interpolate(mode="bilinear", align_corners=False)`: pixel centres, no antialiasing.
pub(super) fn torch_bilinear(plane: &[f32], width: usize, height: usize, side: usize) -> Vec<f32> {
    let taps = |from: usize| -> Vec<Tap> {
        let scale = from as f32 / side as f32;
        (0..side).map(|i| Tap::new((scale * (i as f32 + 0.5) - 0.5).max(0.0), from)).collect()
    };
    bilinear(plane, width, &taps(width), &taps(height))
}

/// TensorFlow 1's `resize_bilinear`: the grids' first pixels lie on each other (torch-fidelity
/// `interpolate_compat_tensorflow.py`).
pub(super) fn tensorflow_bilinear(plane: &[f32], width: usize, height: usize, side: usize) -> Vec<f32> {
    let taps = |from: usize| -> Vec<Tap> {
        let scale = (from as f64 / side as f64) as f32;
        (0..side).map(|i| Tap::new(i as f32 * scale, from)).collect()
    };
    bilinear(plane, width, &taps(width), &taps(height))
}

/// Two neighbours and how far to go from the first to the second.
struct Tap {
    low: usize,
    high: usize,
    fraction: f32,
}

impl Tap {
    fn new(place: f32, from: usize) -> Self {
        let low = (place as usize).min(from - 1);
        Self { low, high: (low + 1).min(from - 1), fraction: place - low as f32 }
    }
}

fn bilinear(plane: &[f32], width: usize, columns: &[Tap], rows: &[Tap]) -> Vec<f32> {
    let mut out = Vec::with_capacity(columns.len() * rows.len());
    for row in rows {
        let (upper, lower) = (&plane[row.low * width..][..width], &plane[row.high * width..][..width]);
        out.extend(columns.iter().map(|column| {
            let across =
                |line: &[f32]| line[column.low] + (line[column.high] - line[column.low]) * column.fraction;
            let (upper, lower) = (across(upper), across(lower));
            upper + (lower - upper) * row.fraction
        }));
    }
    out
}

/// Pillow's `Image.resize(.., BICUBIC)` of mode F (`Resample.c`): first across, then down, each pass with coefficients in
/// f64 that are stretched when shrinking, and rounded to f32 between the passes.
pub(super) fn pillow_bicubic(plane: &[f32], width: usize, height: usize, side: usize) -> Vec<f32> {
    let across = if width == side {
        plane.to_vec()
    } else {
        let taps = bicubic_taps(width, side);
        let sums = |line: &[f32]| taps.iter().map(|tap| tap.sum(|k| line[k])).collect::<Vec<f32>>();
        plane.chunks_exact(width).flat_map(sums).collect()
    };
    if height == side {
        return across;
    }
    let taps = bicubic_taps(height, side);
    let sums = |tap: &CubicTap| (0..side).map(|x| tap.sum(|k| across[k * side + x])).collect::<Vec<f32>>();
    taps.iter().flat_map(sums).collect()
}

/// Weights of neighbours.
struct CubicTap {
    first: usize,
    weights: Vec<f64>,
}

impl CubicTap {
    fn sum(&self, value: impl Fn(usize) -> f32) -> f32 {
        self.weights.iter().zip(self.first..).map(|(w, k)| w * f64::from(value(k))).sum::<f64>() as f32
    }
}

fn bicubic_taps(from: usize, to: usize) -> Vec<CubicTap> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = 2.0 * stretch;
    (0..to)
        .map(|i| {
            let centre = (i as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let mut weights: Vec<f64> =
                (first..end).map(|k| cubic((k as f64 - centre + 0.5) / stretch)).collect();
            let sum: f64 = weights.iter().sum();
            if sum != 0.0 {
                weights.iter_mut().for_each(|w| *w /= sum);
            }
            CubicTap { first, weights }
        })
        .collect()
}

/// R. Keys' kernel (Cubic Convolution Interpolation, 1981) with a = -1/2.
fn cubic(x: f64) -> f64 {
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
