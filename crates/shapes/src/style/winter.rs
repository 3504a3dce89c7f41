//! A cold sky, snow on every upper edge, a bank of snow along the ground, flakes in the air.

use std::f32::consts::TAU;

use crate::dice::Dice;
use crate::field::{Field, backdrop, blur, brightness, field, mix};
use crate::image::{Image, SIDE};

const ZENITH: [f32; 3] = [112.0, 146.0, 194.0];
const HORIZON: [f32; 3] = [208.0, 224.0, 241.0];
const SNOW: [f32; 3] = [247.0, 250.0, 255.0];
const SNOW_IN_SHADE: [f32; 3] = [196.0, 212.0, 236.0];

/// The image snowed in.
#[must_use]
pub fn winter(image: &Image, seed: u64) -> Image {
    let dice = &mut Dice::new("winter", seed);
    let levels = image.levels();
    let object = objects(&levels);
    let cap = caps(&object, dice);
    let bank = bank(dice);
    let flakes = flakes(dice);
    let snowed: Vec<[f32; 3]> = (0..SIDE * SIDE)
        .map(|pixel| {
            let cold = chilled(levels[pixel]);
            let sky = mix(mix(ZENITH, HORIZON, (pixel / SIDE) as f32 / SIDE as f32), cold, 0.3);
            let mut level = mix(sky, cold, object[pixel]);
            level = mix(level, SNOW, cap[pixel]);
            // The bank lies before the objects, which show through a little; deeper down it is in shade.
            let depth = bank[pixel];
            let drift = mix(SNOW, SNOW_IN_SHADE, (depth / 14.0).clamp(0.0, 1.0));
            level = mix(level, drift, depth.clamp(0.0, 1.0) * (1.0 - 0.2 * object[pixel]));
            mix(level, SNOW, flakes[pixel])
        })
        .collect();
    Image::from_levels(&snowed)
}

/// Part of the colour and all of the warmth gone.
fn chilled(level: [f32; 3]) -> [f32; 3] {
    let gray = [brightness(level); 3];
    let faded = mix(level, gray, 0.25);
    [faded[0] * 0.86 + 8.0, faded[1] * 0.9 + 18.0, faded[2] * 0.86 + 44.0]
}

/// How much of each pixel differs from the backdrop.
fn objects(levels: &[[f32; 3]]) -> Field {
    let backdrop = backdrop(levels);
    let distance = |level: &[f32; 3]| {
        (0..3).map(|channel| (level[channel] - backdrop[channel]).powi(2)).sum::<f32>().sqrt()
    };
    levels.iter().map(|level| ((distance(level) - 36.0) / 30.0).clamp(0.0, 1.0)).collect()
}

/// Smooth random heights, one for each column.
fn heights(dice: &mut Dice, sigma: f32) -> Vec<f32> {
    let raw: Vec<f32> = (0..SIDE).map(|_| dice.normal()).collect();
    blur(&raw.repeat(SIDE), sigma)[..SIDE].to_vec()
}

/// Snow on upper edges: uneven in thickness, a pixel above the edge and a few below it.
fn caps(object: &[f32], dice: &mut Dice) -> Field {
    let thickness: Vec<f32> = heights(dice, 1.6).into_iter().map(|height| 2.1 + 4.0 * height.abs()).collect();
    let above = |x: usize, y: usize, rows: usize| if y >= rows { object[(y - rows) * SIDE + x] } else { 0.0 };
    let lying = field(|x, y| {
        let under_edge =
            |depth: usize| (1.0 - above(x, y, depth + 1)) * (thickness[x] - depth as f32).clamp(0.0, 1.0);
        object[y * SIDE + x] * (0..8).map(under_edge).fold(0.0, f32::max)
    });
    field(|x, y| {
        let below = if y + 1 < SIDE { lying[(y + 1) * SIDE + x] } else { 0.0 };
        lying[y * SIDE + x].max(0.9 * below)
    })
}

/// How deep each pixel lies in the bank, negative above it.
fn bank(dice: &mut Dice) -> Field {
    let (waves, phase) = (dice.between(0.8, 1.6), dice.between(0.0, TAU));
    let uneven = heights(dice, 4.0);
    field(|x, y| {
        let wave = 2.2 * (x as f32 / SIDE as f32 * TAU * waves + phase).sin();
        y as f32 - (SIDE as f32 - 11.0 + wave + 4.0 * uneven[x])
    })
}

/// Falling snow, most of it small.
fn flakes(dice: &mut Dice) -> Field {
    let flakes: Vec<(f32, f32, f32)> = (0..36)
        .map(|_| {
            let side = SIDE as f32;
            (dice.between(0.0, side), dice.between(0.0, side), dice.pick(&[0.6, 0.6, 0.8, 0.8, 1.3]))
        })
        .collect();
    field(|x, y| {
        let cover = |&(flake_x, flake_y, radius): &(f32, f32, f32)| {
            (radius + 0.5 - (x as f32 - flake_x).hypot(y as f32 - flake_y)).clamp(0.0, 0.95)
        };
        flakes.iter().map(cover).fold(0.0, f32::max)
    })
}
