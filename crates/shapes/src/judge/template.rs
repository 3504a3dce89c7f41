//! Matching of an object's coverage with templates of the shapes.

use std::sync::LazyLock;

use crate::image::SIDE;
use crate::world::{Shape, coverage};

/// Side of a template in cells.
const GRID: usize = 32;

/// A rectangle of pixels; `right` and `bottom` are exclusive.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoundingBox {
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
}

/// The template with the highest overlap.
pub(super) struct Fit {
    pub(super) shape: Shape,
    pub(super) iou: f32,
    pub(super) bounds: BoundingBox,
}

struct Template {
    shape: Shape,
    grid: Vec<f32>,
    aspect: f32,
}

/// Every shape in three sizes, each centred on a pixel corner and half a pixel off it.
static TEMPLATES: LazyLock<Vec<Template>> = LazyLock::new(|| {
    let mut templates = Vec::new();
    for &shape in Shape::ALL {
        for radius in [10.5, 15.0, 21.0] {
            for shift in [0.0, 0.5] {
                let covered = coverage(shape, 32.0 + shift, 32.0 + shift / 2.0, radius);
                if let Some(bounds) = BoundingBox::around(&covered) {
                    templates.push(Template {
                        shape,
                        grid: bounds.sample(&covered),
                        aspect: bounds.aspect(),
                    });
                }
            }
        }
    }
    templates
});

/// The template that overlaps best; `None` if fewer than 30 pixels are covered by more than half.
pub(super) fn best(covered: &[f32]) -> Option<Fit> {
    if covered.iter().filter(|&&share| share > 0.5).count() < 30 {
        return None;
    }
    let bounds = BoundingBox::around(covered)?;
    let grid = bounds.sample(covered);
    let rate = |template: &Template| {
        let (mut both, mut either) = (0.0, 0.0);
        for (seen, wanted) in grid.iter().zip(&template.grid) {
            both += seen.min(*wanted);
            either += seen.max(*wanted);
        }
        both / either * (-0.5 * (bounds.aspect() / template.aspect).ln().abs()).exp()
    };
    TEMPLATES
        .iter()
        .map(|template| (template.shape, rate(template)))
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
        .map(|(shape, iou)| Fit { shape, iou, bounds })
}

impl BoundingBox {
    /// The bounding box of the pixels that are covered by more than half; `None` if there are none.
    fn around(covered: &[f32]) -> Option<Self> {
        let inside = (0..covered.len()).filter(|&pixel| covered[pixel] > 0.5);
        let columns = inside.clone().map(|pixel| pixel % SIDE);
        let rows = inside.map(|pixel| pixel / SIDE);
        Some(Self {
            left: columns.clone().min()?,
            right: columns.max()? + 1,
            top: rows.clone().min()?,
            bottom: rows.max()? + 1,
        })
    }

    pub(super) fn width(self) -> usize {
        self.right - self.left
    }

    pub(super) fn height(self) -> usize {
        self.bottom - self.top
    }

    pub(super) fn middle(self) -> (f32, f32) {
        ((self.left + self.right) as f32 / 2.0, (self.top + self.bottom) as f32 / 2.0)
    }

    fn aspect(self) -> f32 {
        self.width() as f32 / self.height() as f32
    }

    /// Scales the content of the box to `GRID` x `GRID` cells, first along x, then along y.
    fn sample(self, covered: &[f32]) -> Vec<f32> {
        let across = weights(self.left, self.right);
        let down = weights(self.top, self.bottom);
        let mut narrow = vec![0.0; SIDE * GRID];
        for row in self.top..self.bottom {
            for (column, weights) in across.iter().enumerate() {
                narrow[row * GRID + column] =
                    weights.iter().map(|&(x, weight)| covered[row * SIDE + x] * weight).sum();
            }
        }
        let mut grid = Vec::with_capacity(GRID * GRID);
        for weights in &down {
            grid.extend((0..GRID).map(|column| -> f32 {
                weights.iter().map(|&(y, weight)| narrow[y * GRID + column] * weight).sum()
            }));
        }
        grid
    }
}

/// The pixels that each cell averages and their weights: linear interpolation, widened by the scale when shrinking.
fn weights(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let scale = (to - from) as f32 / GRID as f32;
    let reach = scale.max(1.0);
    let cell = |index: usize| {
        let centre = from as f32 + (index as f32 + 0.5) * scale;
        let share = |pixel: usize| (1.0 - (pixel as f32 + 0.5 - centre).abs() / reach).max(0.0);
        let sum: f32 = (from..to).map(share).sum();
        (from..to).filter(|&pixel| share(pixel) > 0.0).map(|pixel| (pixel, share(pixel) / sum)).collect()
    };
    (0..GRID).map(cell).collect()
}
