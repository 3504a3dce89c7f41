//! torch's bicubic interpolation of one channel of floats (`torch.nn.functional.interpolate` with
//! `align_corners=False`), which torchvision uses to resize tensors. Overshoot is not clipped.

use super::pillow_resize::{Window, resize_f32};

/// Bicubic interpolation without antialiasing, the default of torchvision up to 0.16: 4 x 4 samples at any scale, Keys'
/// cubic with a = -0.75, the border repeated, in f32 as torch computes on the CPU.
///
/// # Panics
/// Panics if `values` has another length than `from`, (width, height), requires.
pub(super) fn bicubic(values: &[f32], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    assert_eq!(values.len(), from.0 * from.1, "samples of an image of {from:?}");
    let (columns, rows) = (taps(from.0, to.0), taps(from.1, to.1));
    // Only the rows that are read: few of them if the image shrinks by more than four.
    let mut wide: Vec<Option<Vec<f32>>> = vec![None; from.1];
    for &y in rows.iter().flat_map(|(indices, _)| indices) {
        wide[y].get_or_insert_with(|| {
            let row = &values[y * from.0..][..from.0];
            columns.iter().map(|(indices, weights)| weigh(weights, indices.map(|x| row[x]))).collect()
        });
    }
    let mut resized = Vec::with_capacity(to.0 * to.1);
    for (indices, weights) in &rows {
        let lines = indices.map(|y| wide[y].as_deref().unwrap_or_default());
        resized.extend((0..to.0).map(|x| weigh(weights, lines.map(|line| line[x]))));
    }
    resized
}

/// Bicubic interpolation with antialiasing, the default of torchvision since 0.17: Pillow's filter (a = -0.5, stretched
/// when shrinking) on floats. torch multiplies in f32 and this in f64, so the results differ by about 1e-6.
///
/// # Panics
/// As [`bicubic`].
pub(super) fn bicubic_antialiased(values: &[f32], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    resize_f32(values, from, to, Window::whole(to))
}

fn weigh(weights: &[f32; 4], samples: [f32; 4]) -> f32 {
    let mut sum = weights[0] * samples[0];
    for i in 1..4 {
        sum += weights[i] * samples[i];
    }
    sum
}

/// Indices and weights of the four inputs of each output.
fn taps(from: usize, to: usize) -> Vec<([usize; 4], [f32; 4])> {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let scale = from as f32 / to as f32;
    let taps = (0..to).map(|i| {
        let x = scale * (i as f32 + 0.5) - 0.5;
        let floor = x.floor();
        let t = x - floor;
        let indices = [-1, 0, 1, 2].map(|k| (floor as i64 + k).clamp(0, from as i64 - 1) as usize);
        (indices, [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)])
    });
    taps.collect()
}
