//! The winter style: a cold sky, snow on upper edges, a snowbank along the ground, and snowflakes.

use std::f32::consts::TAU;

use crate::field::{Field, backdrop, blur, brightness, field, mix};
use crate::image::{Image, SIDE};
use crate::random::Random;

const ZENITH: [f32; 3] = [112.0, 146.0, 194.0];
const HORIZON: [f32; 3] = [208.0, 224.0, 241.0];
const SNOW: [f32; 3] = [247.0, 250.0, 255.0];
const SNOW_IN_SHADE: [f32; 3] = [196.0, 212.0, 236.0];

/// Redraws the image as a winter scene.
pub(super) fn winter(image: &Image, seed: u64) -> Image {
    let random = &mut Random::new("winter", seed);
    let levels = image.levels();
    let object = objects(&levels);
    let cap = caps(&object, random);
    let bank = bank(random);
    let flakes = flakes(random);
    let snowed: Vec<[f32; 3]> = (0..SIDE * SIDE)
        .map(|pixel| {
            let cold = chilled(levels[pixel]);
            let sky = mix(mix(ZENITH, HORIZON, (pixel / SIDE) as f32 / SIDE as f32), cold, 0.3);
            let mut level = mix(sky, cold, object[pixel]);
            level = mix(level, SNOW, cap[pixel]);
            // The bank covers objects, which show through a little. Its lower part is in shade.
            let depth = bank[pixel];
            let drift = mix(SNOW, SNOW_IN_SHADE, (depth / 14.0).clamp(0.0, 1.0));
            level = mix(level, drift, depth.clamp(0.0, 1.0) * (1.0 - 0.2 * object[pixel]));
            mix(level, SNOW, flakes[pixel])
        })
        .collect();
    Image::from_levels(&snowed)
}

/// Lowers the saturation and shifts the colour towards blue.
fn chilled(level: [f32; 3]) -> [f32; 3] {
    let gray = [brightness(level); 3];
    let faded = mix(level, gray, 0.25);
    [faded[0] * 0.86 + 8.0, faded[1] * 0.9 + 18.0, faded[2] * 0.86 + 44.0]
}

/// How clearly each pixel differs from the background, 0 to 1.
fn objects(levels: &[[f32; 3]]) -> Field {
    let backdrop = backdrop(levels);
    let distance = |level: &[f32; 3]| {
        (0..3).map(|channel| (level[channel] - backdrop[channel]).powi(2)).sum::<f32>().sqrt()
    };
    levels.iter().map(|level| ((distance(level) - 36.0) / 30.0).clamp(0.0, 1.0)).collect()
}

/// One smooth random height per column.
fn heights(random: &mut Random, sigma: f32) -> Vec<f32> {
    let raw: Vec<f32> = (0..SIDE).map(|_| random.normal()).collect();
    blur(&raw.repeat(SIDE), sigma)[..SIDE].to_vec()
}

/// Snow on upper edges, of uneven thickness: one pixel above the edge and a few below it.
fn caps(object: &[f32], random: &mut Random) -> Field {
    let thickness: Vec<f32> =
        heights(random, 1.6).into_iter().map(|height| 2.1 + 4.0 * height.abs()).collect();
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

/// The depth of each pixel below the surface of the snowbank; negative above it.
fn bank(random: &mut Random) -> Field {
    let (waves, phase) = (random.between(0.8, 1.6), random.between(0.0, TAU));
    let uneven = heights(random, 4.0);
    field(|x, y| {
        let wave = 2.2 * (x as f32 / SIDE as f32 * TAU * waves + phase).sin();
        y as f32 - (SIDE as f32 - 11.0 + wave + 4.0 * uneven[x])
    })
}

/// The coverage of each pixel by 36 snowflakes, most of them small.
fn flakes(random: &mut Random) -> Field {
    let flakes: Vec<(f32, f32, f32)> = (0..36)
        .map(|_| {
            let side = SIDE as f32;
            (random.between(0.0, side), random.between(0.0, side), random.pick(&[0.6, 0.6, 0.8, 0.8, 1.3]))
        })
        .collect();
    field(|x, y| {
        let cover = |&(flake_x, flake_y, radius): &(f32, f32, f32)| {
            (radius + 0.5 - (x as f32 - flake_x).hypot(y as f32 - flake_y)).clamp(0.0, 0.95)
        };
        flakes.iter().map(cover).fold(0.0, f32::max)
    })
}
