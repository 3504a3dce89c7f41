//! The winter style: a cold sky, snow on upper edges, a snowbank along the ground, and snowflakes.

use std::f32::consts::TAU;

use crate::field::{Field, Grid, brightness, mix};
use crate::image::SIDE;
use crate::random::Random;

const ZENITH: [f32; 3] = [112.0, 146.0, 194.0];
const HORIZON: [f32; 3] = [208.0, 224.0, 241.0];
const SNOW: [f32; 3] = [247.0, 250.0, 255.0];
const SNOW_IN_SHADE: [f32; 3] = [196.0, 212.0, 236.0];

/// Redraws the image as a winter scene.
pub(super) fn winter(grid: Grid, levels: &[[f32; 3]], seed: u64) -> Vec<[f32; 3]> {
    let random = &mut Random::new("winter", seed);
    let object = objects(grid, levels);
    let cap = caps(grid, &object, random);
    let bank = bank(grid, random);
    let flakes = flakes(grid, random);
    (0..grid.len())
        .map(|pixel| {
            let cold = chilled(levels[pixel]);
            let (_, row) = grid.place(pixel);
            let sky = mix(mix(ZENITH, HORIZON, row as f32 / grid.height as f32), cold, 0.3);
            let mut level = mix(sky, cold, object[pixel]);
            level = mix(level, SNOW, cap[pixel]);
            // The bank covers objects, which show through a little. Its lower part is in shade.
            let depth = bank[pixel];
            let drift = mix(SNOW, SNOW_IN_SHADE, (depth / 14.0).clamp(0.0, 1.0));
            level = mix(level, drift, depth.clamp(0.0, 1.0) * (1.0 - 0.2 * object[pixel]));
            mix(level, SNOW, flakes[pixel])
        })
        .collect()
}

/// Lowers the saturation and shifts the colour towards blue.
fn chilled(level: [f32; 3]) -> [f32; 3] {
    let gray = [brightness(level); 3];
    let faded = mix(level, gray, 0.25);
    [faded[0] * 0.86 + 8.0, faded[1] * 0.9 + 18.0, faded[2] * 0.86 + 44.0]
}

/// How clearly each pixel differs from the background, 0 to 1.
fn objects(grid: Grid, levels: &[[f32; 3]]) -> Field {
    let backdrop = grid.backdrop(levels);
    let distance = |level: &[f32; 3]| {
        (0..3).map(|channel| (level[channel] - backdrop[channel]).powi(2)).sum::<f32>().sqrt()
    };
    levels.iter().map(|level| ((distance(level) - 36.0) / 30.0).clamp(0.0, 1.0)).collect()
}

/// One smooth random height per column, in pixels of the world; `sigma` in the same unit.
fn heights(grid: Grid, random: &mut Random, sigma: f32) -> Vec<f32> {
    let raw: Vec<f32> = (0..grid.width).map(|_| random.normal()).collect();
    // Columns blur in both directions, although all rows are equal: the sums round like those of the world.
    let rows = Grid { height: grid.height.min(SIDE), ..grid };
    let smooth = rows.blur(&raw.repeat(rows.height), sigma * grid.scale);
    // The wider the blur, the smaller the deviation of the average.
    smooth[..grid.width].iter().map(|height| height * grid.scale.sqrt()).collect()
}

/// Snow on upper edges, of uneven thickness: one pixel of the world above the edge and a few below it.
fn caps(grid: Grid, object: &[f32], random: &mut Random) -> Field {
    let Grid { width, height, scale } = grid;
    let thickness: Vec<f32> =
        heights(grid, random, 1.6).into_iter().map(|height| 2.1 + 4.0 * height.abs()).collect();
    let above =
        |x: usize, y: usize, rows: usize| if y >= rows { object[(y - rows) * width + x] } else { 0.0 };
    let deepest = (8.0 * scale).ceil() as usize;
    let lying = grid.field(|x, y| {
        let of_object = object[y * width + x];
        if of_object == 0.0 {
            return 0.0;
        }
        let under_edge = |depth: usize| {
            (1.0 - above(x, y, depth + 1)) * (thickness[x] - depth as f32 / scale).clamp(0.0, 1.0)
        };
        of_object * (0..deepest).map(under_edge).fold(0.0, f32::max)
    });
    let rise = (scale.round() as usize).max(1);
    grid.field(|x, y| {
        let below = if y + rise < height { lying[(y + rise) * width + x] } else { 0.0 };
        lying[y * width + x].max(0.9 * below)
    })
}

/// The depth of each pixel below the surface of the snowbank, in pixels of the world; negative above it.
fn bank(grid: Grid, random: &mut Random) -> Field {
    let (waves, phase) = (random.between(0.8, 1.6), random.between(0.0, TAU));
    let uneven = heights(grid, random, 4.0);
    let ground = grid.height as f32 / grid.scale;
    grid.field(|x, y| {
        let wave = 2.2 * (x as f32 / grid.width as f32 * TAU * waves + phase).sin();
        y as f32 / grid.scale - (ground - 11.0 + wave + 4.0 * uneven[x])
    })
}

/// The coverage of each pixel by snowflakes, most of them small: 36 in an image of the world.
fn flakes(grid: Grid, random: &mut Random) -> Field {
    let mut cover = vec![0.0; grid.len()];
    for _ in 0..grid.count(36) {
        let (x, y) = grid.point(random);
        let radius = random.pick(&[0.6, 0.6, 0.8, 0.8, 1.3]);
        let reach = (radius + 0.5) * grid.scale;
        let near = |centre: f32, side: usize| {
            (centre - reach).max(0.0) as usize..((centre + reach).ceil() as usize + 1).min(side)
        };
        for row in near(y, grid.height) {
            for column in near(x, grid.width) {
                let distance = (column as f32 - x).hypot(row as f32 - y) / grid.scale;
                let strongest: &mut f32 = &mut cover[row * grid.width + column];
                *strongest = strongest.max((radius + 0.5 - distance).clamp(0.0, 0.95));
            }
        }
    }
    cover
}
