//! Three manners an image can be redrawn in by classical operators: the styles of the style sets.

mod sketch;
mod van_gogh;
mod winter;

pub use sketch::sketch;
pub use van_gogh::van_gogh;
pub use winter::winter;

use crate::image::Image;
use crate::world::{Kind, Split, scene};

/// A manner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    /// Curved strokes of thick paint.
    VanGogh,
    /// Graphite on paper: contours and hatching, no colour.
    Sketch,
    /// Snowed in under a cold sky.
    Winter,
}

impl Style {
    /// All of them.
    pub const ALL: &[Self] = &[Self::VanGogh, Self::Sketch, Self::Winter];

    /// The image in this manner. The seed places strokes, wobbles and snowflakes.
    #[must_use]
    pub fn apply(self, image: &Image, seed: u64) -> Image {
        match self {
            Self::VanGogh => van_gogh(image, seed),
            Self::Sketch => sketch(image, seed),
            Self::Winter => winter(image, seed),
        }
    }
}

/// A preference pair of a style set, built as the paper builds them: the original loses against its edited version, and the caption,
/// which says nothing of the style, stays.
#[derive(Clone, Debug, PartialEq)]
pub struct StylePair {
    /// Of the original.
    pub caption: String,
    /// The edited version.
    pub winner: Image,
    /// The original.
    pub loser: Image,
}

/// The pair of a seed.
#[must_use]
pub fn style_pair(style: Style, seed: u64) -> StylePair {
    let scene = scene(seed, Split::Train, Kind::Mixed);
    let loser = scene.paint();
    StylePair { caption: scene.caption(), winner: style.apply(&loser, seed), loser }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_share_a_caption_and_differ_in_manner() {
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
    fn a_painting_is_full_of_strokes_and_its_darkness_is_blue() {
        let unrest = |image: &Image| {
            let levels = image.levels();
            levels.windows(2).map(|pair| (pair[1][1] - pair[0][1]).abs()).sum::<f32>() / 4096.0
        };
        for seed in 0..10 {
            let original = scene(seed, Split::Train, Kind::Single).paint();
            let painted = van_gogh(&original, seed);
            assert!(unrest(&painted) > 3.0 * unrest(&original), "{}", unrest(&painted));
        }
        let night = Image::from_levels(&[[30.0; 3]; 64 * 64]);
        let painted = van_gogh(&night, 1).levels();
        assert!(painted.iter().filter(|[red, _, blue]| blue > red).count() > 3600);
    }
}
