//! The outlines of the shapes and their coverage of pixels.

use std::f32::consts::{PI, TAU};

use super::name::Shape;
use crate::image::SIDE;

/// Sample rows per pixel row. Along a sample row coverage is exact.
const SUBROWS: usize = 8;

type Point = (f32, f32);

/// Closed contours around the origin for radius 1, with y pointing down. The even-odd rule decides what is inside. The
/// scales make the shapes look equally large.
fn contours(shape: Shape) -> Vec<Vec<Point>> {
    let circle = |radius: f32| regular(96, |_| radius, 0.0);
    match shape {
        Shape::Circle => vec![circle(1.0)],
        Shape::Ring => vec![circle(1.0), circle(0.52)],
        Shape::Square => vec![vec![(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]],
        Shape::Diamond => vec![vec![(0.0, -1.15), (0.85, 0.0), (0.0, 1.15), (-0.85, 0.0)]],
        Shape::Triangle => vec![vec![(0.0, -1.0), (1.04, 0.8), (-1.04, 0.8)]],
        Shape::Star => vec![regular(10, |corner| if corner % 2 == 0 { 1.12 } else { 0.47 }, 0.06)],
        Shape::Cross => {
            let (arm, half) = (0.98, 0.34);
            let quarter = [(half, -arm), (half, -half), (arm, -half)];
            let turn = |(x, y): Point, quarters: usize| [(x, y), (-y, x), (-x, -y), (y, -x)][quarters];
            vec![(0..4).flat_map(|quarters| quarter.map(|point| turn(point, quarters))).collect()]
        }
        Shape::Heart => vec![
            (0..64)
                .map(|step| {
                    let t = TAU * step as f32 / 64.0;
                    let height =
                        13.0 * t.cos() - 5.0 * (2.0 * t).cos() - 2.0 * (3.0 * t).cos() - (4.0 * t).cos();
                    (t.sin().powi(3), -(height + 2.2) / 15.0)
                })
                .collect(),
        ],
    }
}

/// Corners at equal angles, the first at the top, all shifted down by `drop`.
fn regular(corners: usize, radius: impl Fn(usize) -> f32, drop: f32) -> Vec<Point> {
    (0..corners)
        .map(|corner| {
            let angle = TAU * corner as f32 / corners as f32 - PI / 2.0;
            (radius(corner) * angle.cos(), radius(corner) * angle.sin() + drop)
        })
        .collect()
}

/// The extent of a shape of radius 1, measured from its centre.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// To the left, and equally to the right.
    pub(crate) side: f32,
    pub(crate) top: f32,
    pub(crate) bottom: f32,
}

impl Extent {
    /// The largest extent in any direction.
    pub(crate) fn reach(self) -> f32 {
        self.side.max(self.top).max(self.bottom)
    }

    /// The longer side of the bounding box.
    pub(crate) fn span(self) -> f32 {
        (2.0 * self.side).max(self.top + self.bottom)
    }
}

pub(crate) fn extent(shape: Shape) -> Extent {
    let mut extent = Extent { side: 0.0, top: 0.0, bottom: 0.0 };
    for (x, y) in contours(shape).into_iter().flatten() {
        extent.side = extent.side.max(x.abs());
        extent.top = extent.top.max(-y);
        extent.bottom = extent.bottom.max(y);
    }
    extent
}

/// The share of every pixel that a shape centred at (x, y) covers, row by row.
pub(crate) fn coverage(shape: Shape, x: f32, y: f32, radius: f32) -> Vec<f32> {
    let edges: Vec<(Point, Point)> = contours(shape)
        .into_iter()
        .flat_map(|contour| {
            let place = |(u, v): Point| (x + radius * u, y + radius * v);
            let placed: Vec<Point> = contour.into_iter().map(place).collect();
            (0..placed.len()).map(|i| (placed[i], placed[(i + 1) % placed.len()])).collect::<Vec<_>>()
        })
        .collect();
    let extent = extent(shape);
    let first = (y - radius * extent.top).floor().clamp(0.0, SIDE as f32) as usize;
    let last = (y + radius * extent.bottom).ceil().clamp(0.0, SIDE as f32) as usize;

    let mut covered = vec![0.0; SIDE * SIDE];
    let mut crossings = Vec::new();
    for row in first..last {
        for subrow in 0..SUBROWS {
            let level = row as f32 + (subrow as f32 + 0.5) / SUBROWS as f32;
            crossings.clear();
            for &((ax, ay), (bx, by)) in &edges {
                if (ay <= level) != (by <= level) {
                    crossings.push(ax + (level - ay) / (by - ay) * (bx - ax));
                }
            }
            crossings.sort_unstable_by(f32::total_cmp);
            for inside in crossings.as_chunks::<2>().0 {
                add_span(&mut covered[row * SIDE..][..SIDE], inside[0], inside[1]);
            }
        }
    }
    covered
}

/// Adds to each pixel what the span from `from` to `to` of one sample row covers of it.
fn add_span(row: &mut [f32], from: f32, to: f32) {
    let (from, to) = (from.max(0.0), to.min(SIDE as f32));
    let pixels = from as usize..(to.ceil().max(0.0) as usize).min(SIDE);
    for pixel in pixels {
        let overlap = to.min(pixel as f32 + 1.0) - from.max(pixel as f32);
        row[pixel] += overlap.max(0.0) / SUBROWS as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_covered_area_equals_the_area_of_the_shape() {
        let area = |shape| coverage(shape, 31.7, 32.4, 20.0).iter().sum::<f32>() / 400.0;
        let expected = [
            (Shape::Circle, PI),
            (Shape::Ring, PI * (1.0 - 0.52 * 0.52)),
            (Shape::Square, 1.76 * 1.76),
            (Shape::Diamond, 2.0 * 1.15 * 0.85),
            (Shape::Triangle, 1.04 * 1.8),
            (Shape::Cross, 4.0 * 0.98 * 0.68 - 0.68 * 0.68),
            (Shape::Star, 5.0 * 1.12 * 0.47 * (PI / 5.0).sin()),
        ];
        for (shape, expected) in expected {
            assert!(
                (area(shape) / expected - 1.0).abs() < 0.01,
                "{shape}: {} against {expected}",
                area(shape)
            );
        }
    }

    #[test]
    fn a_shape_is_clipped_at_the_border() {
        let corner: f32 = coverage(Shape::Square, 0.0, 0.0, 20.0).iter().sum();
        assert!((corner - (0.88f32 * 20.0).powi(2)).abs() < 1.0);
        assert_eq!(coverage(Shape::Circle, -100.0, 200.0, 9.0).iter().sum::<f32>(), 0.0);
    }
}
