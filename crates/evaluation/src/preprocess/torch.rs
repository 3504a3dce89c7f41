//! torch's bicubic interpolation of one channel of floats (`torch.nn.functional.interpolate`, `align_corners=False`),
//! which torchvision's resizing of tensors calls. Neither clips what overshoots.

use super::filter::Filter;
use super::pillow::{Window, resize_f32};

/// Without antialiasing, what torchvision did until 0.16: always 4 x 4 samples, Keys' cubic with a = -0.75, the border
/// repeated. In f32, as torch does on the CPU.
///
/// # Panics
/// `values` are not an image of `from`, (width, height): the caller's mistake.
#[must_use]
pub fn bicubic(values: &[f32], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    assert_eq!(values.len(), from.0 * from.1, "samples of an image of {from:?}");
    let (columns, rows) = (taps(from.0, to.0), taps(from.1, to.1));
    // Rows that are not read are left out: an image may shrink by more than four.
    let mut wide: Vec<Option<Vec<f32>>> = vec![None; from.1];
    for &y in rows.iter().flat_map(|(places, _)| places) {
        wide[y].get_or_insert_with(|| {
            let row = &values[y * from.0..][..from.0];
            columns.iter().map(|(places, weights)| weigh(weights, places.map(|x| row[x]))).collect()
        });
    }
    let mut resized = Vec::with_capacity(to.0 * to.1);
    for (places, weights) in &rows {
        let lines = places.map(|y| wide[y].as_deref().unwrap_or_default());
        resized.extend((0..to.0).map(|x| weigh(weights, lines.map(|line| line[x]))));
    }
    resized
}

/// With antialiasing, what torchvision does since 0.17: Pillow's filter (a = -0.5, widened when shrinking) on floats.
/// torch weighs in f32, this in f64: they differ by some 1e-6.
///
/// # Panics
/// As [`bicubic`].
#[must_use]
pub fn bicubic_antialiased(values: &[f32], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    resize_f32(values, from, to, Window::whole(to), Filter::Bicubic)
}

fn weigh(weights: &[f32; 4], samples: [f32; 4]) -> f32 {
    let mut sum = weights[0] * samples[0];
    for i in 1..4 {
        sum += weights[i] * samples[i];
    }
    sum
}

/// Four places and weights of each output.
fn taps(from: usize, to: usize) -> Vec<([usize; 4], [f32; 4])> {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let scale = from as f32 / to as f32;
    let taps = (0..to).map(|i| {
        let x = scale * (i as f32 + 0.5) - 0.5;
        let floor = x.floor();
        let t = x - floor;
        let places = [-1, 0, 1, 2].map(|k| (floor as i64 + k).clamp(0, from as i64 - 1) as usize);
        (places, [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)])
    });
    taps.collect()
}
