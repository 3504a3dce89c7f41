//! The sets of the bundled world of shapes.

use super::example::Example;
use catalogue::dataset::shapes_set;
use domain::data::ShapesSet;
use domain::dataset::Source;
use rayon::prelude::*;
use shapes::Image;
use shapes::set::entry;
use std::ops::Range;

/// Draws the examples with the numbers `rows` of a set, in parallel. A pure function of its arguments.
#[must_use]
pub fn draw(set: ShapesSet, seed: u64, rows: Range<u64>) -> Vec<Example> {
    let set = shapes_set(set);
    let draw = |row| {
        let entry = entry(set, seed, row);
        let loser = entry.loser.as_ref().map(Image::to_image);
        let source = Source { file: format!("seed {seed}"), row };
        Example { row, caption: entry.caption, winner: entry.winner.to_image(), loser, source, list: None }
    };
    rows.into_par_iter().map(draw).collect()
}
