//! Rendering of a scene.

use super::outline::coverage;
use super::scene::Scene;
use crate::image::{Image, SIDE};

impl Scene {
    /// Renders the scene: the background with its shading, then the objects in order, antialiased by coverage.
    #[must_use]
    pub fn paint(&self) -> Image {
        let ground = self.background.levels();
        let mut levels: Vec<[f32; 3]> = (0..SIDE * SIDE)
            .map(|pixel| {
                let light = self.shade(pixel % SIDE, pixel / SIDE);
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

    fn shade(&self, x: usize, y: usize) -> f32 {
        let from_middle = |position: usize| position as f32 / (SIDE - 1) as f32 - 0.5;
        self.shading.as_ref().map_or(0.0, |shading| {
            shading.strength * (shading.angle.cos() * from_middle(x) + shading.angle.sin() * from_middle(y))
        })
    }
}
