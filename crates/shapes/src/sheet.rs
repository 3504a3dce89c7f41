//! Contact sheets of scenes, styles and quality pairs, for people to look at.

use image::RgbImage;

use crate::contact_sheet::contact_sheet;
use crate::image::Image;
use crate::quality::{QualityPair, quality_pair};
use crate::style::Style;
use crate::world::{Kind, Split, scene};

/// Scenes of one kind, ten per row.
#[must_use]
pub fn world_sheet(kind: Kind, split: Split, count: usize) -> RgbImage {
    let images: Vec<Image> = (0..count as u64).map(|seed| scene(seed, split, kind).paint()).collect();
    contact_sheet(&images, 10, 2)
}

/// A row of originals, and below it one row per style.
#[must_use]
pub fn style_sheet(columns: usize) -> RgbImage {
    let seeds = 0..columns as u64;
    let originals: Vec<Image> =
        seeds.clone().map(|seed| scene(seed, Split::Train, Kind::Mixed).paint()).collect();
    let styled = Style::ALL.iter().flat_map(|style| {
        originals.iter().zip(seeds.clone()).map(|(original, seed)| style.apply(original, seed))
    });
    let images: Vec<Image> = originals.iter().cloned().chain(styled).collect();
    contact_sheet(&images, columns, 4)
}

/// Rows of quality pairs, each winner above its loser.
#[must_use]
pub fn quality_sheet(columns: usize, rows: usize) -> RgbImage {
    let mut images = Vec::new();
    for row in 0..rows {
        let pairs: Vec<QualityPair> =
            (0..columns).map(|column| quality_pair((row * columns + column) as u64)).collect();
        images.extend(pairs.iter().map(|pair| pair.winner.clone()));
        images.extend(pairs.into_iter().map(|pair| pair.loser));
    }
    contact_sheet(&images, columns, 2)
}
