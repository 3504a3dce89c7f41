//! Arithmetic on scalar fields (one number per pixel) for styles and flaws. Outside the image the border pixel repeats.

use crate::image::SIDE;
use crate::random::Random;

/// One number per pixel, row by row.
pub(crate) type Field = Vec<f32>;

/// The pixels of an image: its size, and how much larger than an image of the world it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Grid {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// The shorter side, in units of the world's side. Lengths that were chosen for the world are multiplied by it; for an
    /// image of the world it is exactly 1, so that no bit changes.
    pub(crate) scale: f32,
}

impl Grid {
    /// The pixels of the world's images.
    pub(crate) const WORLD: Self = Self { width: SIDE, height: SIDE, scale: 1.0 };

    /// The pixels of an image of this size, which must not be empty.
    pub(crate) fn of(width: usize, height: usize) -> Self {
        Self { width, height, scale: width.min(height) as f32 / SIDE as f32 }
    }

    /// Number of pixels.
    pub(crate) fn len(self) -> usize {
        self.width * self.height
    }

    /// Column and row of a pixel.
    pub(crate) fn place(self, pixel: usize) -> (usize, usize) {
        (pixel % self.width, pixel / self.width)
    }

    /// A number of things that are spread over an image of the world, for the area of this image at its scale: 1 for a
    /// square, more for a longer image.
    pub(crate) fn count(self, of_world: usize) -> usize {
        let (short, long) = (self.width.min(self.height), self.width.max(self.height));
        of_world * long / short
    }

    /// A random point of the image.
    pub(crate) fn point(self, random: &mut Random) -> (f32, f32) {
        (random.between(0.0, self.width as f32), random.between(0.0, self.height as f32))
    }

    /// Evaluates a function of x and y at every pixel.
    pub(crate) fn field(self, value: impl Fn(usize, usize) -> f32) -> Field {
        (0..self.len()).map(|pixel| value(pixel % self.width, pixel / self.width)).collect()
    }

    /// The value at the pixel nearest to a point, which may lie outside the image.
    pub(crate) fn at(self, field: &[f32], x: f32, y: f32) -> f32 {
        field[self.pixel(x, y)]
    }

    /// The index of the pixel nearest to a point, which may lie outside the image.
    pub(crate) fn pixel(self, x: f32, y: f32) -> usize {
        let inside = |position: f32, side: usize| position.clamp(0.0, side as f32 - 1.0) as usize;
        inside(y, self.height) * self.width + inside(x, self.width)
    }

    /// Gaussian blur with a kernel cut at three standard deviations, `sigma` in pixels.
    pub(crate) fn blur(self, source: &[f32], sigma: f32) -> Field {
        let radius = (3.0 * sigma).ceil() as usize;
        let bell = |offset: usize| (-0.5 * ((offset as f32 - radius as f32) / sigma).powi(2)).exp();
        let sum: f32 = (0..=2 * radius).map(bell).sum();
        let kernel: Vec<f32> = (0..=2 * radius).map(|offset| bell(offset) / sum).collect();
        let rows = |source: &[f32], width: usize| -> Field {
            source.chunks_exact(width).flat_map(|row| blur_row(row, &kernel)).collect()
        };
        let across = rows(source, self.width);
        transposed(&rows(&transposed(&across, self.width), self.height), self.height)
    }

    /// Central differences along x and along y.
    pub(crate) fn gradient(self, source: &[f32]) -> (Field, Field) {
        let near = |x: isize, y: isize| self.at(source, x as f32, y as f32);
        let along_x =
            self.field(|x, y| (near(x as isize + 1, y as isize) - near(x as isize - 1, y as isize)) / 2.0);
        let along_y =
            self.field(|x, y| (near(x as isize, y as isize + 1) - near(x as isize, y as isize - 1)) / 2.0);
        (along_x, along_y)
    }

    /// Gaussian noise blurred by `sigma` pixels, then scaled to mean 0 and the given standard deviation.
    pub(crate) fn noise(self, random: &mut Random, deviation: f32, sigma: f32) -> Field {
        let raw: Field = (0..self.len()).map(|_| random.normal()).collect();
        let smooth = self.blur(&raw, sigma);
        let mean = smooth.iter().sum::<f32>() / smooth.len() as f32;
        let spread =
            (smooth.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / smooth.len() as f32).sqrt();
        smooth.into_iter().map(|value| (value - mean) * deviation / spread.max(1e-6)).collect()
    }

    /// The background colour: the median of each channel along the border, 3 pixels wide in the world.
    pub(crate) fn backdrop(self, levels: &[[f32; 3]]) -> [f32; 3] {
        let wide = ((3.0 * self.scale).round() as usize).max(1);
        let is_inner = |position: usize, side: usize| (wide..side.saturating_sub(wide)).contains(&position);
        let border = |&pixel: &usize| {
            let (x, y) = self.place(pixel);
            !(is_inner(x, self.width) && is_inner(y, self.height))
        };
        let pixels: Vec<usize> = (0..self.len()).filter(border).collect();
        std::array::from_fn(|channel| {
            let mut values: Vec<f32> = pixels.iter().map(|&pixel| levels[pixel][channel]).collect();
            let middle = values.len() / 2;
            *values.select_nth_unstable_by(middle, f32::total_cmp).1
        })
    }
}

fn blur_row(row: &[f32], kernel: &[f32]) -> Vec<f32> {
    let radius = kernel.len() / 2;
    let mut padded = vec![row[0]; radius];
    padded.extend_from_slice(row);
    padded.resize(row.len() + 2 * radius, row[row.len() - 1]);
    let mut blurred = vec![0.0; row.len()];
    for (offset, weight) in kernel.iter().enumerate() {
        for (sum, value) in blurred.iter_mut().zip(&padded[offset..]) {
            *sum += weight * value;
        }
    }
    blurred
}

/// Exchanges rows and columns of a field with rows of this width.
fn transposed(source: &[f32], width: usize) -> Field {
    (0..width).flat_map(|x| source.iter().skip(x).step_by(width).copied()).collect()
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
