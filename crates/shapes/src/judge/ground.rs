//! The background, as a plane through the border.

use crate::image::SIDE;
use crate::world::Background;

/// Pixels this near to an edge belong to the border.
const BORDER: usize = 3;

/// For each channel the constant, the slope in x and the slope in y.
pub(super) struct Ground([[f32; 3]; 3]);

impl Ground {
    /// Least squares over the border, three times: after the first, pixels far from the plane (an object that reaches the border) no
    /// longer count.
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
            // Fewer would not carry a plane.
            if near.len() > 60 {
                kept = near;
            }
            ground = Self::plane(levels, &kept);
        }
        ground
    }

    /// Least squares by the normal equations.
    fn plane(levels: &[[f32; 3]], pixels: &[usize]) -> Self {
        let mut matrix = [[0.0; 3]; 3];
        let mut right = [[0.0; 3]; 3];
        for &pixel in pixels {
            let place = place(pixel);
            for row in 0..3 {
                for column in 0..3 {
                    matrix[row][column] += place[row] * place[column];
                }
                for (channel, side) in right.iter_mut().enumerate() {
                    side[row] += place[row] * levels[pixel][channel];
                }
            }
        }
        Self(right.map(|side| solve(matrix, side)))
    }

    /// The background at a pixel.
    pub(super) fn at(&self, pixel: usize) -> [f32; 3] {
        let place = place(pixel);
        self.0.map(|plane| (0..3).map(|term| plane[term] * place[term]).sum())
    }

    /// How much a pixel differs from the background.
    pub(super) fn distance(&self, levels: &[[f32; 3]], pixel: usize) -> f32 {
        let plane = self.at(pixel);
        (0..3).map(|c| (levels[pixel][c] - plane[c]).powi(2)).sum::<f32>().sqrt()
    }

    /// The nearest of the world's backgrounds.
    pub(super) fn background(&self) -> Background {
        let distance = |background: Background| -> f32 {
            (0..3).map(|channel| (self.0[channel][0] - background.levels()[channel]).abs()).sum()
        };
        let nearer =
            |best: Background, &next: &Background| if distance(next) < distance(best) { next } else { best };
        Background::ALL.iter().fold(Background::White, nearer)
    }
}

/// The terms of the plane at a pixel; the middle of the image is the origin.
fn place(pixel: usize) -> [f32; 3] {
    let from_middle = |position: usize| position as f32 / (SIDE - 1) as f32 - 0.5;
    [1.0, from_middle(pixel % SIDE), from_middle(pixel / SIDE)]
}

/// Cramer's rule. More than 60 of the border's pixels never lie on one line, so the determinant is not zero.
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
