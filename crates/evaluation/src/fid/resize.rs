//! Bilinear resizing of one channel to a square, as pytorch-fid and torch-fidelity do it. clean-fid's resizing is
//! Pillow's, in [`crate::preprocess`].

/// torch's `interpolate(mode="bilinear", align_corners=False)`: aligns pixel centres, without antialiasing.
pub(super) fn torch_bilinear(plane: &[f32], width: usize, height: usize, side: usize) -> Vec<f32> {
    let taps = |from: usize| -> Vec<Tap> {
        let scale = from as f32 / side as f32;
        (0..side).map(|i| Tap::new((scale * (i as f32 + 0.5) - 0.5).max(0.0), from)).collect()
    };
    bilinear(plane, width, &taps(width), &taps(height))
}

/// TensorFlow 1's `resize_bilinear`: aligns the upper left corners of the grids (torch-fidelity's
/// `interpolate_compat_tensorflow.py`).
pub(super) fn tensorflow_bilinear(plane: &[f32], width: usize, height: usize, side: usize) -> Vec<f32> {
    let taps = |from: usize| -> Vec<Tap> {
        let scale = (from as f64 / side as f64) as f32;
        (0..side).map(|i| Tap::new(i as f32 * scale, from)).collect()
    };
    bilinear(plane, width, &taps(width), &taps(height))
}

/// The two inputs of an output and the weight of the second.
struct Tap {
    low: usize,
    high: usize,
    fraction: f32,
}

impl Tap {
    fn new(position: f32, from: usize) -> Self {
        let low = (position as usize).min(from - 1);
        Self { low, high: (low + 1).min(from - 1), fraction: position - low as f32 }
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
