//! Arithmetic on scalar fields (one number per pixel) for styles and flaws. Outside the image the border pixel repeats.

use crate::image::SIDE;
use crate::random::Random;

/// One number per pixel, row by row.
pub(crate) type Field = Vec<f32>;

/// Evaluates a function of x and y at every pixel.
pub(crate) fn field(value: impl Fn(usize, usize) -> f32) -> Field {
    (0..SIDE * SIDE).map(|pixel| value(pixel % SIDE, pixel / SIDE)).collect()
}

/// The value at the pixel nearest to a point, which may lie outside the image.
pub(crate) fn at(field: &[f32], x: f32, y: f32) -> f32 {
    field[pixel(x, y)]
}

/// The index of the pixel nearest to a point, which may lie outside the image.
pub(crate) fn pixel(x: f32, y: f32) -> usize {
    let inside = |position: f32| position.clamp(0.0, SIDE as f32 - 1.0) as usize;
    inside(y) * SIDE + inside(x)
}

/// Gaussian blur with a kernel cut at three standard deviations.
pub(crate) fn blur(source: &[f32], sigma: f32) -> Field {
    let radius = (3.0 * sigma).ceil() as usize;
    let bell = |offset: usize| (-0.5 * ((offset as f32 - radius as f32) / sigma).powi(2)).exp();
    let sum: f32 = (0..=2 * radius).map(bell).sum();
    let kernel: Vec<f32> = (0..=2 * radius).map(|offset| bell(offset) / sum).collect();
    let rows = |source: &[f32]| -> Field {
        source.chunks_exact(SIDE).flat_map(|row| blur_row(row, &kernel)).collect()
    };
    transposed(&rows(&transposed(&rows(source))))
}

fn blur_row(row: &[f32], kernel: &[f32]) -> [f32; SIDE] {
    let radius = kernel.len() / 2;
    let mut padded = vec![row[0]; radius];
    padded.extend_from_slice(row);
    padded.resize(SIDE + 2 * radius, row[SIDE - 1]);
    let mut blurred = [0.0; SIDE];
    for (offset, weight) in kernel.iter().enumerate() {
        for (sum, value) in blurred.iter_mut().zip(&padded[offset..]) {
            *sum += weight * value;
        }
    }
    blurred
}

fn transposed(source: &[f32]) -> Field {
    field(|x, y| source[x * SIDE + y])
}

/// Central differences along x and along y.
pub(crate) fn gradient(source: &[f32]) -> (Field, Field) {
    let near = |x: isize, y: isize| at(source, x as f32, y as f32);
    let along_x = field(|x, y| (near(x as isize + 1, y as isize) - near(x as isize - 1, y as isize)) / 2.0);
    let along_y = field(|x, y| (near(x as isize, y as isize + 1) - near(x as isize, y as isize - 1)) / 2.0);
    (along_x, along_y)
}

/// Gaussian noise blurred by `sigma`, then scaled to mean 0 and the given standard deviation.
pub(crate) fn noise(random: &mut Random, deviation: f32, sigma: f32) -> Field {
    let raw: Field = (0..SIDE * SIDE).map(|_| random.normal()).collect();
    let smooth = blur(&raw, sigma);
    let mean = smooth.iter().sum::<f32>() / smooth.len() as f32;
    let spread =
        (smooth.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / smooth.len() as f32).sqrt();
    smooth.into_iter().map(|value| (value - mean) * deviation / spread.max(1e-6)).collect()
}

pub(crate) fn channel(levels: &[[f32; 3]], index: usize) -> Field {
    levels.iter().map(|level| level[index]).collect()
}

/// Luma by ITU-R BT.601, on the scale of the levels.
pub(crate) fn brightness([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// Linear interpolation: `from` at share 0, `to` at share 1.
pub(crate) fn mix(from: [f32; 3], to: [f32; 3], share: f32) -> [f32; 3] {
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

/// The background colour: the median of each channel over the outer 3 pixels.
pub(crate) fn backdrop(levels: &[[f32; 3]]) -> [f32; 3] {
    let inner = 3..SIDE - 3;
    let border = |pixel: &usize| !(inner.contains(&(pixel % SIDE)) && inner.contains(&(pixel / SIDE)));
    std::array::from_fn(|channel| {
        let mut values: Vec<f32> =
            (0..SIDE * SIDE).filter(border).map(|pixel| levels[pixel][channel]).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable_by(middle, f32::total_cmp).1
    })
}
