//! The background of an image, as a plane fitted to its border.

use crate::image::SIDE;
use crate::world::Background;

/// Width of the border in pixels.
const BORDER: usize = 3;

/// Constant, slope in x and slope in y of each channel.
pub(super) struct BackgroundPlane([[f32; 3]; 3]);

impl BackgroundPlane {
    /// Fits the plane to the border by least squares, three times. The second and third fit leave out pixels far from
    /// the previous plane, such as those of an object that reaches into the border.
    pub(super) fn fit(levels: &[[f32; 3]]) -> Self {
        let inner = BORDER..SIDE - BORDER;
        let border: Vec<usize> = (0..SIDE * SIDE)
            .filter(|pixel| !(inner.contains(&(pixel % SIDE)) && inner.contains(&(pixel / SIDE))))
            .collect();
        let mut kept = border.clone();
        let mut ground = Self::plane(levels, &kept);
        for _ in 0..2 {
            let error = |&pixel: &usize| {
                let plane = ground.at(pixel);
                (0..3).map(|c| (levels[pixel][c] - plane[c]).abs()).fold(0.0, f32::max)
            };
            let mut errors: Vec<f32> = border.iter().map(error).collect();
            let median = *errors.select_nth_unstable_by(border.len() / 2, f32::total_cmp).1;
            let near: Vec<usize> =
                border.iter().copied().filter(|pixel| error(pixel) < (3.0 * median).max(14.0)).collect();
            // Fewer pixels would not determine a plane reliably.
            if near.len() > 60 {
                kept = near;
            }
            ground = Self::plane(levels, &kept);
        }
        ground
    }

    /// Solves the least-squares problem by its normal equations.
    fn plane(levels: &[[f32; 3]], pixels: &[usize]) -> Self {
        let mut matrix = [[0.0; 3]; 3];
        let mut right = [[0.0; 3]; 3];
        for &pixel in pixels {
            let terms = terms(pixel);
            for row in 0..3 {
                for column in 0..3 {
                    matrix[row][column] += terms[row] * terms[column];
                }
                for (channel, side) in right.iter_mut().enumerate() {
                    side[row] += terms[row] * levels[pixel][channel];
                }
            }
        }
        Self(right.map(|side| solve(matrix, side)))
    }

    /// The background at a pixel.
    pub(super) fn at(&self, pixel: usize) -> [f32; 3] {
        let terms = terms(pixel);
        self.0.map(|plane| (0..3).map(|term| plane[term] * terms[term]).sum())
    }

    /// The Euclidean distance of a pixel from the background, in levels.
    pub(super) fn distance(&self, levels: &[[f32; 3]], pixel: usize) -> f32 {
        let plane = self.at(pixel);
        (0..3).map(|c| (levels[pixel][c] - plane[c]).powi(2)).sum::<f32>().sqrt()
    }

    /// The nearest named background.
    pub(super) fn background(&self) -> Background {
        let distance = |background: Background| -> f32 {
            (0..3).map(|channel| (self.0[channel][0] - background.levels()[channel]).abs()).sum()
        };
        let nearer =
            |best: Background, &next: &Background| if distance(next) < distance(best) { next } else { best };
        Background::ALL.iter().fold(Background::White, nearer)
    }
}

/// The terms (1, x, y) of the plane at a pixel, with x and y from -0.5 to 0.5.
fn terms(pixel: usize) -> [f32; 3] {
    let from_middle = |position: usize| position as f32 / (SIDE - 1) as f32 - 0.5;
    [1.0, from_middle(pixel % SIDE), from_middle(pixel / SIDE)]
}

/// Solves a 3x3 system by Cramer's rule. More than 60 pixels of the border never lie on one line, so the determinant is
/// not zero.
fn solve(matrix: [[f32; 3]; 3], right: [f32; 3]) -> [f32; 3] {
    let determinant = |m: [[f32; 3]; 3]| -> f32 {
        (0..3)
            .map(|i| {
                m[0][i] * (m[1][(i + 1) % 3] * m[2][(i + 2) % 3] - m[1][(i + 2) % 3] * m[2][(i + 1) % 3])
            })
            .sum()
    };
    let whole = determinant(matrix);
    std::array::from_fn(|unknown| {
        let mut replaced = matrix;
        for row in 0..3 {
            replaced[row][unknown] = right[row];
        }
        determinant(replaced) / whole
    })
}
