//! The pencil sketch: doubled wobbly contours and hatching in graphite on cream paper.

use std::f32::consts::{PI, TAU};

use crate::field::{Field, Grid, brightness, channel, mix};
use crate::random::Random;

const PAPER: [f32; 3] = [246.0, 241.0, 230.0];
const GRAPHITE: [f32; 3] = [52.0, 52.0, 58.0];

/// Redraws the image as a pencil sketch.
pub(super) fn sketch(grid: Grid, levels: &[[f32; 3]], seed: u64) -> Vec<[f32; 3]> {
    let random = &mut Random::new("sketch", seed);
    let contour = contour(grid, levels, random);
    let tone = tone(grid, levels);
    let tilt = PI / 4.0 + random.between(-0.15, 0.15);
    let single = hatching(grid, random, tilt, 4.0);
    let crossed = hatching(grid, random, tilt - PI / 2.0, 4.0);
    let grain = grid.noise(random, 2.0, 0.8 * grid.scale);
    (0..grid.len())
        .map(|pixel| {
            let first = ((tone[pixel] - 0.12) * 1.6).clamp(0.0, 0.8) * single[pixel];
            let second = ((tone[pixel] - 0.6) * 2.2).clamp(0.0, 0.8) * crossed[pixel];
            let ink = first.max(second) + 0.08 * tone[pixel];
            // Graphite catches on the grain of the paper.
            let graphite = ink.max(contour[pixel]) * (0.9 + 0.1 * random.normal());
            mix(PAPER.map(|level| level + grain[pixel]), GRAPHITE, graphite.clamp(0.0, 1.0))
        })
        .collect()
}

/// The strength of the contour line at every pixel: a line along every edge and a fainter, displaced one.
fn contour(grid: Grid, levels: &[[f32; 3]], random: &mut Random) -> Field {
    let mut edge: Field = vec![0.0; grid.len()];
    for index in 0..3 {
        let (along_x, along_y) = grid.gradient(&grid.blur(&channel(levels, index), 0.5 * grid.scale));
        for (strongest, (gx, gy)) in edge.iter_mut().zip(along_x.iter().zip(along_y)) {
            // An edge that is blurred over more pixels is less steep.
            *strongest = strongest.max(gx.hypot(gy) * grid.scale);
        }
    }
    // Relative to the strongest edge, so that pale objects get lines as strong as dark ones. The floor of 20 keeps
    // noise from being an edge.
    let firm = edge.iter().copied().fold(20.0, f32::max) * 0.75;
    let line: Field = edge.into_iter().map(|strength| (strength / firm).min(1.0)).collect();
    let mut astray = || grid.noise(random, 1.0, 4.0 * grid.scale);
    let (astray_x, astray_y) = (astray(), astray());
    (0..grid.len())
        .map(|pixel| {
            let (column, row) = grid.place(pixel);
            let moved = |place: usize, astray: f32| place as f32 + 0.5 + astray.clamp(-1.5, 1.5) * grid.scale;
            let second = grid.at(&line, moved(column, astray_x[pixel]), moved(row, astray_y[pixel]));
            0.95 * line[pixel].max(0.5 * second)
        })
        .collect()
}

/// The density of hatching: mainly darkness, with a share for the difference from the background, so that light objects
/// get some too.
fn tone(grid: Grid, levels: &[[f32; 3]]) -> Field {
    let backdrop = grid.backdrop(levels);
    let tone = |&level: &[f32; 3]| {
        let difference = (0..3).map(|c| (level[c] - backdrop[c]).abs()).fold(0.0, f32::max) / 110.0;
        let darkness = (1.0 - brightness(level) / 255.0).clamp(0.0, 1.0).powf(1.2);
        (0.25 * difference.min(1.0) + 0.75 * darkness).min(1.0)
    };
    levels.iter().map(tone).collect()
}

/// Slightly wobbly parallel lines: 1 in the middle of a line, 0 between two lines.
fn hatching(grid: Grid, random: &mut Random, tilt: f32, period: f32) -> Field {
    let (unsteady, phase) = (grid.noise(random, 0.35, 5.0 * grid.scale), random.between(0.0, TAU));
    grid.field(|x, y| {
        let (right, down) = (x as f32 / grid.scale, y as f32 / grid.scale);
        let across = right * tilt.cos() + down * tilt.sin() + unsteady[y * grid.width + x];
        (0.5 + 0.5 * (TAU * across / period + phase).cos()).powf(1.5)
    })
}
