//! The four measures of image quality, one for each flaw of quality in the quality set (focus, grain, contrast, blocks).
//! They need no prompt and no network.

use super::background_plane::BackgroundPlane;
use super::{CONTRAST, blob, core_colour, nearest_colour};
use crate::image::{Image, SIDE};

/// Pixels whose neighbourhood varies by less than this, in levels, have no edge to be in focus.
const EDGE: f32 = 40.0;
/// Pixels around an edge within which its full height is reached.
const REACH: usize = 3;
/// Sides of the blocks that pixelated images have.
const BLOCK_SIDES: std::ops::RangeInclusive<usize> = 4..=8;

/// How free an image is from each flaw of quality: 1 for clean images of the world, 0 for the mildest losers of the quality
/// set, linear between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clarity {
    /// Free from blur: the height of an edge that one step between neighbouring pixels covers.
    pub focus: f32,
    /// Free from noise: the median of the second difference in both axes (Immerkaer, "Fast noise variance estimation").
    pub grain: f32,
    /// Free from fading: the distance of background and objects from the palette.
    pub contrast: f32,
    /// Free from pixelation: the share of all steps between neighbouring pixels that lies on one grid of blocks.
    pub blocks: f32,
}

impl Clarity {
    /// The mean of the four.
    #[must_use]
    pub fn mean(self) -> f32 {
        (self.focus + self.grain + self.contrast + self.blocks) / 4.0
    }
}

/// Measures the quality of an image.
#[must_use]
pub fn clarity(image: &Image) -> Clarity {
    let levels = image.levels();
    // The ends are quantiles over 3000 pairs of the quality set: 1% of the losers with the flaw, 99% of the winners.
    Clarity {
        focus: scaled(step(&levels), 0.25, 0.49),
        grain: scaled(noise(&levels), 21.0, 0.75),
        contrast: scaled(off_palette(&levels), 47.0, 11.0),
        blocks: scaled(on_grid(&levels), 1.0, 0.85),
    }
}

/// 0 at `flawed` or beyond, 1 at `clean` or beyond.
fn scaled(value: f32, flawed: f32, clean: f32) -> f32 {
    ((value - flawed) / (clean - flawed)).clamp(0.0, 1.0)
}

/// The largest difference of a channel.
fn difference(one: [f32; 3], other: [f32; 3]) -> f32 {
    (0..3).map(|channel| (one[channel] - other[channel]).abs()).fold(0.0, f32::max)
}

/// Median over edge pixels of the step to the next pixel, divided by the range within `REACH` pixels.
fn step(levels: &[[f32; 3]]) -> f32 {
    let mut ratios = Vec::new();
    for y in REACH..SIDE - REACH {
        for x in REACH..SIDE - REACH {
            let here = levels[y * SIDE + x];
            let next =
                difference(here, levels[y * SIDE + x + 1]).max(difference(here, levels[(y + 1) * SIDE + x]));
            let (mut low, mut high) = ([f32::MAX; 3], [f32::MIN; 3]);
            for row in y - REACH..=y + REACH {
                for pixel in &levels[row * SIDE + x - REACH..=row * SIDE + x + REACH] {
                    for channel in 0..3 {
                        low[channel] = low[channel].min(pixel[channel]);
                        high[channel] = high[channel].max(pixel[channel]);
                    }
                }
            }
            let range = difference(low, high);
            if range > EDGE && next > 0.2 * range {
                ratios.push(next / range);
            }
        }
    }
    // An image without edges shows nothing that could be in focus.
    if ratios.len() < 12 {
        return 0.0;
    }
    let middle = ratios.len() / 2;
    *ratios.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// Standard deviation of the noise, in levels.
fn noise(levels: &[[f32; 3]]) -> f32 {
    let at = |x: usize, y: usize, channel: usize| levels[y * SIDE + x][channel];
    let mut residuals = Vec::with_capacity(3 * SIDE * SIDE);
    for y in 1..SIDE - 1 {
        for x in 1..SIDE - 1 {
            for channel in 0..3 {
                let row = |y: usize| at(x - 1, y, channel) - 2.0 * at(x, y, channel) + at(x + 1, y, channel);
                residuals.push((row(y - 1) - 2.0 * row(y) + row(y + 1)).abs());
            }
        }
    }
    let middle = residuals.len() / 2;
    // 6 is the norm of the operator; 0.6745 the median of a normal distribution's absolute value.
    *residuals.select_nth_unstable_by(middle, f32::total_cmp).1 / (6.0 * 0.6745)
}

/// The largest distance of a colour, of background or objects, from the nearest of the palette, in levels.
fn off_palette(levels: &[[f32; 3]]) -> f32 {
    let ground = BackgroundPlane::fit(levels);
    let behind = ground.at(SIDE * SIDE / 2 + SIDE / 2);
    let mut worst = distance(behind, ground.background().levels());
    let apart: Vec<f32> = (0..SIDE * SIDE).map(|pixel| ground.distance(levels, pixel)).collect();
    for blob in blob::blobs(&apart, CONTRAST) {
        let colour = core_colour(&blob, levels, &apart);
        worst = worst.max(distance(colour, nearest_colour(colour).levels()));
    }
    worst
}

fn distance(one: [f32; 3], other: [f32; 3]) -> f32 {
    (0..3).map(|channel| (one[channel] - other[channel]).powi(2)).sum::<f32>().sqrt()
}

/// Share of the steps between neighbouring pixels that lies on the best grid of blocks.
fn on_grid(levels: &[[f32; 3]]) -> f32 {
    // Steps across each vertical and each horizontal line between pixels.
    let mut across = [[0.0_f32; SIDE]; 2];
    for y in 0..SIDE {
        for x in 0..SIDE {
            let here = levels[y * SIDE + x];
            if x > 0 {
                across[0][x] += difference(here, levels[y * SIDE + x - 1]);
            }
            if y > 0 {
                across[1][y] += difference(here, levels[(y - 1) * SIDE + x]);
            }
        }
    }
    let total: f32 = across.as_flattened().iter().sum();
    let share = |side: usize| {
        let on: f32 = (side..SIDE).step_by(side).map(|line| across[0][line] + across[1][line]).sum();
        on / total.max(1e-6)
    };
    BLOCK_SIDES.map(share).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::{Clarity, clarity};
    use crate::quality::{Flaw, quality_pair};

    #[test]
    fn each_flaw_lowers_its_own_measure() {
        let mut seen = [0; 4];
        for seed in 0..400 {
            let pair = quality_pair(seed);
            if pair.swapped {
                continue;
            }
            let (clean, flawed) = (clarity(&pair.winner), clarity(&pair.loser));
            assert!(clean.mean() > 0.9, "{seed}: {clean:?}");
            let of = |clarity: Clarity| match pair.flaw {
                Flaw::Blurred => Some((0, clarity.focus)),
                Flaw::Noisy => Some((1, clarity.grain)),
                Flaw::Faded => Some((2, clarity.contrast)),
                Flaw::Blocky => Some((3, clarity.blocks)),
                _ => None,
            };
            let (Some((kind, before)), Some((_, after))) = (of(clean), of(flawed)) else {
                assert!(flawed.mean() > 0.9, "{seed}: contradictions are no flaws of quality: {flawed:?}");
                continue;
            };
            seen[kind] += 1;
            assert!(before > 0.8 && after < 0.3, "{seed}, {:?}: {before} -> {after}", pair.flaw);
        }
        assert!(seen.iter().all(|&count| count > 20), "{seen:?}");
    }
}
