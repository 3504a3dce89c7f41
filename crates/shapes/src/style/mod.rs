//! The styles of the bundled style sets: classical image operators that redraw an image.

mod sketch;
mod van_gogh;
mod winter;

use crate::image::Image;
use crate::world::{Kind, Split, scene};
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
        match self {
            Self::VanGogh => van_gogh(image, seed),
            Self::Sketch => sketch(image, seed),
            Self::Winter => winter(image, seed),
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
            let drawn = sketch(&original, seed);
            assert!(drawn.levels().iter().all(|[red, _, blue]| (red - blue).abs() < 40.0));
            assert!(blueness(&winter(&original, seed)) > 5.0);
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
            let painted = van_gogh(&original, seed);
            assert!(roughness(&painted) > 3.0 * roughness(&original), "{}", roughness(&painted));
        }
        let night = Image::from_levels(&[[30.0; 3]; 64 * 64]);
        let painted = van_gogh(&night, 1).levels();
        assert!(painted.iter().filter(|[red, _, blue]| blue > red).count() > 3600);
    }
}
