//! The sets of the bundled world, as runs use them.

use domain::train::{DataSpec, ShapesSet};
use rayon::prelude::*;
use shapes::Picture;
use shapes::quality::quality_pair;
use shapes::style::{Style, style_pair};
use shapes::world::{Kind, Split, scene};

/// A captioned picture, and the worse picture of the pair where there is one.
#[derive(Debug)]
pub struct Example {
    /// What the picture shows.
    pub caption: String,
    /// The picture, or the winner of the pair.
    pub winner: Picture,
    /// The loser.
    pub loser: Option<Picture>,
}

/// Distance between the seeds of two sets: no set draws more.
const STRIDE: u64 = 1_000_003;

/// Draws a set. A pure function of the spec, in parallel.
#[must_use]
pub fn draw(spec: &DataSpec) -> Vec<Example> {
    let DataSpec::Shapes { set, count, seed } = *spec;
    (0..u64::from(count))
        .into_par_iter()
        .map(|i| {
            let seed = seed.wrapping_mul(STRIDE).wrapping_add(i);
            match set {
                ShapesSet::Pictures => alone(seed, Kind::Mixed),
                ShapesSet::Centred => alone(seed, Kind::Centred),
                ShapesSet::VanGogh => styled(Style::VanGogh, seed),
                ShapesSet::Sketch => styled(Style::Sketch, seed),
                ShapesSet::Winter => styled(Style::Winter, seed),
                ShapesSet::Quality => {
                    let pair = quality_pair(seed);
                    Example { caption: pair.caption, winner: pair.winner, loser: Some(pair.loser) }
                }
            }
        })
        .collect()
}

fn alone(seed: u64, kind: Kind) -> Example {
    let scene = scene(seed, Split::Train, kind);
    Example { caption: scene.caption(), winner: scene.paint(), loser: None }
}

fn styled(style: Style, seed: u64) -> Example {
    let pair = style_pair(style, seed);
    Example { caption: pair.caption, winner: pair.winner, loser: Some(pair.loser) }
}
