//! From a scene to an image.

use super::outline::coverage;
use super::scene::Scene;
use crate::image::{Image, SIDE};

impl Scene {
    /// The image.
    #[must_use]
    pub fn paint(&self) -> Image {
        let ground = self.background.levels();
        let mut levels: Vec<[f32; 3]> = (0..SIDE * SIDE)
            .map(|pixel| {
                let light = self.light(pixel % SIDE, pixel / SIDE);
                std::array::from_fn(|channel| ground[channel] + self.tint[channel] + light)
            })
            .collect();
        for object in &self.objects {
            let colour = object.colour.levels();
            let covered = coverage(object.shape, object.x, object.y, object.radius);
            for (level, covered) in levels.iter_mut().zip(covered) {
                for channel in 0..3 {
                    level[channel] += (colour[channel] + object.tint[channel] - level[channel]) * covered;
                }
            }
        }
        Image::from_levels(&levels)
    }

    fn light(&self, x: usize, y: usize) -> f32 {
        let from_middle = |position: usize| position as f32 / (SIDE - 1) as f32 - 0.5;
        self.grade.as_ref().map_or(0.0, |grade| {
            grade.strength * (grade.angle.cos() * from_middle(x) + grade.angle.sin() * from_middle(y))
        })
    }
}
