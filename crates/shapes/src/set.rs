//! The bundled training sets, generated entry by entry.

use crate::image::Image;
use crate::quality::quality_pair;
use crate::style::{Style, style_pair};
use crate::world::{Kind, Split, scene};

/// A bundled training set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Captioned images, no pairs.
    Images,
    /// Captioned images of one centred object, no pairs.
    Centred,
    /// Pairs whose winner is painted in Van Gogh's style.
    VanGogh,
    /// Pairs whose winner is a pencil sketch.
    Sketch,
    /// Pairs whose winner is a winter scene.
    Winter,
    /// Pairs whose loser is degraded or contradicts its caption.
    Quality,
}

/// A captioned image, or a preference pair with its caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The caption, of both images in a pair.
    pub caption: String,
    /// The winner of a pair; the image of an entry without a pair.
    pub winner: Image,
    /// The loser of a pair.
    pub loser: Option<Image>,
}

impl Set {
    /// Every set and its name in specs.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Images, "images"),
        (Self::Centred, "centred"),
        (Self::VanGogh, "van_gogh"),
        (Self::Sketch, "sketch"),
        (Self::Winter, "winter"),
        (Self::Quality, "quality"),
    ];
}

/// Entries of neighbouring set seeds lie this many scene seeds apart, so sets of up to this size do not overlap.
const STRIDE: u64 = 1_000_003;

/// Generates entry `index` of a set; different seeds give different entries.
#[must_use]
pub fn entry(set: Set, seed: u64, index: u64) -> Entry {
    let seed = scene_seed(seed, index);
    match set {
        Set::Images => unpaired(seed, Kind::Mixed),
        Set::Centred => unpaired(seed, Kind::Centred),
        Set::VanGogh => styled(Style::VanGogh, seed),
        Set::Sketch => styled(Style::Sketch, seed),
        Set::Winter => styled(Style::Winter, seed),
        Set::Quality => {
            let pair = quality_pair(seed);
            Entry { caption: pair.caption, winner: pair.winner, loser: Some(pair.loser) }
        }
    }
}

/// The caption of entry `index` of a set, as in [`entry`]. No image is drawn.
#[must_use]
pub fn caption(set: Set, seed: u64, index: u64) -> String {
    let kind = if set == Set::Centred { Kind::Centred } else { Kind::Mixed };
    scene(scene_seed(seed, index), Split::Train, kind).caption()
}

fn scene_seed(seed: u64, index: u64) -> u64 {
    seed.wrapping_mul(STRIDE).wrapping_add(index)
}

fn unpaired(seed: u64, kind: Kind) -> Entry {
    let scene = scene(seed, Split::Train, kind);
    Entry { caption: scene.caption(), winner: scene.paint(), loser: None }
}

fn styled(style: Style, seed: u64) -> Entry {
    let pair = style_pair(style, seed);
    Entry { caption: pair.caption, winner: pair.winner, loser: Some(pair.loser) }
}

#[cfg(test)]
mod tests {
    use super::{Set, caption, entry};

    #[test]
    fn a_caption_without_its_images_is_that_of_the_entry() {
        for (set, name) in Set::ALL {
            for (seed, index) in [(0, 0), (0, 7), (3, 1), (u64::MAX, 12)] {
                assert_eq!(
                    caption(set, seed, index),
                    entry(set, seed, index).caption,
                    "{name} {seed} {index}"
                );
            }
        }
    }
}
