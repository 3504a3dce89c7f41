//! Contact sheets that show the world to people.

use image::RgbImage;

use crate::picture::{Picture, contact_sheet};
use crate::quality::{QualityPair, quality_pair};
use crate::style::Style;
use crate::world::{Kind, Split, scene};

/// Pictures of one kind, ten in a row.
#[must_use]
pub fn world_sheet(kind: Kind, split: Split, count: usize) -> RgbImage {
    let pictures: Vec<Picture> = (0..count as u64).map(|seed| scene(seed, split, kind).paint()).collect();
    contact_sheet(&pictures, 10, 2)
}

/// A row of originals and below it a row in each style.
#[must_use]
pub fn style_sheet(columns: usize) -> RgbImage {
    let seeds = 0..columns as u64;
    let originals: Vec<Picture> =
        seeds.clone().map(|seed| scene(seed, Split::Train, Kind::Mixed).paint()).collect();
    let styled = Style::ALL.iter().flat_map(|style| {
        originals.iter().zip(seeds.clone()).map(|(original, seed)| style.apply(original, seed))
    });
    let pictures: Vec<Picture> = originals.iter().cloned().chain(styled).collect();
    contact_sheet(&pictures, columns, 4)
}

/// Rows of quality pairs, each winner above its loser.
#[must_use]
pub fn quality_sheet(columns: usize, rows: usize) -> RgbImage {
    let mut pictures = Vec::new();
    for row in 0..rows {
        let pairs: Vec<QualityPair> =
            (0..columns).map(|column| quality_pair((row * columns + column) as u64)).collect();
        pictures.extend(pairs.iter().map(|pair| pair.winner.clone()));
        pictures.extend(pairs.into_iter().map(|pair| pair.loser));
    }
    contact_sheet(&pictures, columns, 2)
}
