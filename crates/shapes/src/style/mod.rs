//! The styles of the bundled style sets: classical image operators that redraw an image.

mod sketch;
mod van_gogh;
mod winter;

use crate::field::Grid;
use crate::image::Image;
use crate::world::{Kind, Split, scene};
use image::RgbImage;
use sketch::sketch;
use van_gogh::van_gogh;
use winter::winter;

/// A style that an image can be redrawn in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    /// An oil painting with visible, curved brush strokes.
    VanGogh,
    /// A pencil drawing: contours and hatching, no colour.
    Sketch,
    /// A winter scene: cold colours, snow on objects and ground, snowflakes.
    Winter,
}

impl Style {
    /// Every style.
    pub const ALL: &[Self] = &[Self::VanGogh, Self::Sketch, Self::Winter];

    /// Redraws an image in this style. The seed determines the random details, such as strokes and snowflakes.
    #[must_use]
    pub fn apply(self, image: &Image, seed: u64) -> Image {
        Image::from_levels(&self.redraw(Grid::WORLD, &image.levels(), seed))
    }

    /// Redraws an image of any size in this style. Strokes, radii and noise grow with the shorter side, so that a large
    /// image looks like an enlarged small one. An image of the world's size gets the bytes of [`Style::apply`]; an image
    /// without pixels is returned as it is.
    #[must_use]
    pub fn apply_to(self, image: &RgbImage, seed: u64) -> RgbImage {
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return image.clone();
        }
        let levels: Vec<[f32; 3]> = image.pixels().map(|pixel| pixel.0.map(f32::from)).collect();
        let drawn = self.redraw(Grid::of(width as usize, height as usize), &levels, seed);
        let mut redrawn = RgbImage::new(width, height);
        for (pixel, level) in redrawn.pixels_mut().zip(drawn) {
            pixel.0 = level.map(|level| level.round().clamp(0.0, 255.0) as u8);
        }
        redrawn
    }

    fn redraw(self, grid: Grid, levels: &[[f32; 3]], seed: u64) -> Vec<[f32; 3]> {
        match self {
            Self::VanGogh => van_gogh(grid, levels, seed),
            Self::Sketch => sketch(grid, levels, seed),
            Self::Winter => winter(grid, levels, seed),
        }
    }
}

/// A preference pair of a style set, built as in the Diff-contrast paper: the edited image wins over its original, and
/// both have the original's caption, which does not mention the style.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StylePair {
    pub(crate) caption: String,
    /// The edited image.
    pub(crate) winner: Image,
    /// The original.
    pub(crate) loser: Image,
}

/// Generates the pair of a seed.
pub(crate) fn style_pair(style: Style, seed: u64) -> StylePair {
    let scene = scene(seed, Split::Train, Kind::Mixed);
    let loser = scene.paint();
    StylePair { caption: scene.caption(), winner: style.apply(&loser, seed), loser }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_a_scene_and_its_restyled_image_with_the_scenes_caption() {
        for &style in Style::ALL {
            let pair = style_pair(style, 3);
            let scene = scene(3, Split::Train, Kind::Mixed);
            assert_eq!((pair.caption, &pair.loser), (scene.caption(), &scene.paint()));
            assert_ne!(pair.winner, pair.loser);
            assert_eq!(pair.winner, style.apply(&pair.loser, 3));
            assert_ne!(pair.winner, style.apply(&pair.loser, 4));
        }
    }

    #[test]
    fn a_sketch_has_no_colour_and_winter_is_colder_than_the_original() {
        let mean = |image: &Image, channel: usize| {
            image.levels().iter().map(|level| level[channel]).sum::<f32>() / 4096.0
        };
        let blueness = |image: &Image| mean(image, 2) - mean(image, 0);
        for seed in 0..20 {
            let original = scene(seed, Split::Train, Kind::Single).paint();
            let drawn = Style::Sketch.apply(&original, seed);
            assert!(drawn.levels().iter().all(|[red, _, blue]| (red - blue).abs() < 40.0));
            assert!(blueness(&Style::Winter.apply(&original, seed)) > 5.0);
        }
    }

    #[test]
    fn a_painting_has_strokes_and_its_dark_areas_are_blue() {
        let roughness = |image: &Image| {
            let levels = image.levels();
            levels.windows(2).map(|pair| (pair[1][1] - pair[0][1]).abs()).sum::<f32>() / 4096.0
        };
        for seed in 0..10 {
            let original = scene(seed, Split::Train, Kind::Single).paint();
            let painted = Style::VanGogh.apply(&original, seed);
            assert!(roughness(&painted) > 3.0 * roughness(&original), "{}", roughness(&painted));
        }
        let night = Image::from_levels(&[[30.0; 3]; 64 * 64]);
        let painted = Style::VanGogh.apply(&night, 1).levels();
        assert!(painted.iter().filter(|[red, _, blue]| blue > red).count() > 3600);
    }

    #[test]
    fn an_image_of_the_worlds_size_gets_the_same_bytes_from_both_functions() {
        for &style in Style::ALL {
            let original = scene(5, Split::Train, Kind::Mixed).paint();
            assert_eq!(style.apply_to(&original.to_image(), 7), style.apply(&original, 7).to_image());
        }
    }

    /// The mean of each cell of an 8 x 8 raster, over the three channels.
    fn raster(image: &RgbImage) -> Vec<f32> {
        let (width, height) = image.dimensions();
        let mut sums = vec![(0.0, 0.0); 64];
        for (x, y, pixel) in image.enumerate_pixels() {
            let cell = &mut sums[(y * 8 / height * 8 + x * 8 / width) as usize];
            *cell = (cell.0 + pixel.0.iter().map(|&level| f32::from(level)).sum::<f32>() / 3.0, cell.1 + 1.0);
        }
        sums.into_iter().map(|(sum, count)| sum / count).collect()
    }

    #[test]
    fn a_large_image_looks_like_an_enlarged_small_one() {
        let original = scene(5, Split::Train, Kind::Single).paint().to_image();
        for &style in Style::ALL {
            let small = raster(&style.apply_to(&original, 7));
            for (width, height) in [(256, 256), (192, 192)] {
                let enlarge = image::imageops::FilterType::Triangle;
                let large = image::imageops::resize(&original, width, height, enlarge);
                let large = raster(&style.apply_to(&large, 7));
                let off = small.iter().zip(&large).map(|(a, b)| (a - b).abs()).sum::<f32>() / 64.0;
                assert!(off < 14.0, "{style:?} at {width} x {height} differs by {off}");
            }
        }
    }

    #[test]
    fn images_of_any_shape_are_redrawn() {
        for &style in Style::ALL {
            for (width, height) in [(96, 64), (64, 200), (1, 1), (3, 90), (33, 2), (0, 0)] {
                let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 90]));
                assert_eq!(style.apply_to(&image, 1).dimensions(), (width, height), "{style:?}");
            }
        }
    }
}
