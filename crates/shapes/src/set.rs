//! The sets that runs learn from, entry by entry.

use crate::image::Image;
use crate::quality::quality_pair;
use crate::style::{Style, style_pair};
use crate::world::{Kind, Split, scene};

/// A set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Captioned images, no pairs.
    Images,
    /// Captioned images of one centred object, no pairs.
    Centred,
    /// Pairs whose winner is in Van Gogh's manner.
    VanGogh,
    /// Pairs whose winner is a pencil sketch.
    Sketch,
    /// Pairs whose winner is snowed in.
    Winter,
    /// Pairs whose loser is degraded or wrong about its caption.
    Quality,
}

/// A captioned image, and the worse one of the pair where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What the image shows.
    pub caption: String,
    /// The image, or the winner.
    pub winner: Image,
    /// The loser.
    pub loser: Option<Image>,
}

impl Set {
    /// All sets with their names.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Images, "images"),
        (Self::Centred, "centred"),
        (Self::VanGogh, "van_gogh"),
        (Self::Sketch, "sketch"),
        (Self::Winter, "winter"),
        (Self::Quality, "quality"),
    ];
}

/// Distance between the seeds of two sets: no set draws more.
const STRIDE: u64 = 1_000_003;

/// Entry number `index` of the set of a seed.
#[must_use]
pub fn entry(set: Set, seed: u64, index: u64) -> Entry {
    let seed = seed.wrapping_mul(STRIDE).wrapping_add(index);
    match set {
        Set::Images => alone(seed, Kind::Mixed),
        Set::Centred => alone(seed, Kind::Centred),
        Set::VanGogh => styled(Style::VanGogh, seed),
        Set::Sketch => styled(Style::Sketch, seed),
        Set::Winter => styled(Style::Winter, seed),
        Set::Quality => {
            let pair = quality_pair(seed);
            Entry { caption: pair.caption, winner: pair.winner, loser: Some(pair.loser) }
        }
    }
}

fn alone(seed: u64, kind: Kind) -> Entry {
    let scene = scene(seed, Split::Train, kind);
    Entry { caption: scene.caption(), winner: scene.paint(), loser: None }
}

fn styled(style: Style, seed: u64) -> Entry {
    let pair = style_pair(style, seed);
    Entry { caption: pair.caption, winner: pair.winner, loser: Some(pair.loser) }
}
