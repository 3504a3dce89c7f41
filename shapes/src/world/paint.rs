//! From a scene to a picture.

use super::outline::coverage;
use super::scene::Scene;
use crate::picture::{Picture, SIDE};

impl Scene {
    /// The picture.
    #[must_use]
    pub fn paint(&self) -> Picture {
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
        Picture::from_levels(&levels)
    }

    fn light(&self, x: usize, y: usize) -> f32 {
        let from_middle = |position: usize| position as f32 / (SIDE - 1) as f32 - 0.5;
        self.grade.as_ref().map_or(0.0, |grade| {
            grade.strength * (grade.angle.cos() * from_middle(x) + grade.angle.sin() * from_middle(y))
        })
    }
}
