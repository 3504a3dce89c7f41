//! The Van Gogh style: curved strokes of thick paint that swirl in open areas and follow contours near objects, with a
//! palette of ultramarine, ochre and saturated colours.

use std::f32::consts::PI;

use crate::field::{Field, Grid, brightness, channel, mix};
use crate::image::SIDE;
use crate::random::Random;

/// How much lighter or darker the two sides of a stroke are, in levels.
const RELIEF: f32 = 24.0;

const ULTRAMARINE: [f32; 3] = [28.0, 58.0, 150.0];
const OCHRE: [f32; 3] = [250.0, 214.0, 120.0];
const CONTOUR: [f32; 3] = [22.0, 30.0, 72.0];

/// Redraws the image in brush strokes.
pub(super) fn van_gogh(grid: Grid, levels: &[[f32; 3]], seed: u64) -> Vec<[f32; 3]> {
    let random = &mut Random::new("van gogh", seed);
    let flow = Flow::of(grid, levels, random);
    let paints: Vec<[f32; 3]> = levels.iter().map(|&level| on_the_palette(level)).collect();
    let mut canvas = Canvas::primed(grid, &paints);
    for (strokes, length, width) in [(420, 15.0, 2.8), (760, 9.0, 2.0)] {
        for _ in 0..grid.count(strokes) {
            let (x, y) = grid.point(random);
            let pixel = grid.pixel(x, y);
            let mut paint = paints[pixel].map(|level| level + 8.0 * random.normal());
            if random.chance(0.13) {
                paint = mix(paint, random.pick(&[OCHRE, ULTRAMARINE]), 0.4);
            }
            let light = random.between(0.78, 1.2);
            // A finer brush near contours.
            let width = width * (1.0 - 0.35 * flow.edge[pixel]);
            let path = flow.path(x, y, length, |there| similar(paints[pixel], paints[there]));
            canvas.stroke(&path, width, paint.map(|level| level * light), 1.0);
        }
    }
    for _ in 0..grid.count(500) {
        let (x, y) = grid.point(random);
        if flow.contour[grid.pixel(x, y)] > 0.55 {
            let path = flow.path(x, y, 6.0, |there| flow.contour[there] > 0.4);
            canvas.stroke(&path, 1.1, CONTOUR, 0.6);
        }
    }
    canvas.finish()
}

/// Raises the saturation and pulls pale colours towards ochre, dark ones towards ultramarine.
fn on_the_palette(level: [f32; 3]) -> [f32; 3] {
    let gray = level.iter().sum::<f32>() / 3.0;
    let most = level.iter().copied().fold(0.0, f32::max);
    let least = level.iter().copied().fold(255.0, f32::min);
    let purer = level.map(|channel| gray + (channel - gray) * 1.25);
    let tone = mix(ULTRAMARINE, OCHRE, brightness(level) / 255.0);
    let pull = 0.10 + 0.5 * (1.0 - (most - least) / 255.0);
    mix(purer, tone, pull).map(|channel| channel.clamp(0.0, 255.0))
}

/// Whether a stroke of one colour may continue over another.
fn similar(one: [f32; 3], other: [f32; 3]) -> bool {
    (0..3).map(|channel| (one[channel] - other[channel]).abs()).sum::<f32>() < 80.0
}

/// The directions of strokes.
struct Flow {
    grid: Grid,
    angle: Field,
    /// Closeness to a contour, 0 to 1.
    edge: Field,
    /// Strength of the contour at the pixel, 0 to 1.
    contour: Field,
}

impl Flow {
    /// Computes the directions from the structure tensor: angles are doubled for averaging, so that opposite directions
    /// are equal.
    fn of(grid: Grid, levels: &[[f32; 3]], random: &mut Random) -> Self {
        let mut tensor = [vec![0.0; grid.len()], vec![0.0; grid.len()], vec![0.0; grid.len()]];
        for index in 0..3 {
            let (along_x, along_y) = grid.gradient(&grid.blur(&channel(levels, index), 0.8 * grid.scale));
            for (pixel, (gx, gy)) in along_x.into_iter().zip(along_y).enumerate() {
                // An edge that is blurred over more pixels is less steep.
                let (gx, gy) = (gx * grid.scale, gy * grid.scale);
                tensor[0][pixel] += gx * gx - gy * gy;
                tensor[1][pixel] += 2.0 * gx * gy;
                tensor[2][pixel] += gx * gx + gy * gy;
            }
        }
        let strongest = tensor[2].iter().copied().fold(1.0, f32::max);
        let contour = tensor[2].iter().map(|energy| (energy / strongest).sqrt()).collect();
        // A narrow blur for the contour, a wide one for the strokes around it.
        let spread = |part: &Field| -> Field {
            let wide = grid.blur(part, 5.0 * grid.scale);
            grid.blur(part, 1.5 * grid.scale)
                .into_iter()
                .zip(wide)
                .map(|(narrow, wide)| narrow + 2.0 * wide)
                .collect()
        };
        let [cosine, sine, energy] = tensor.each_ref().map(spread);
        let edge: Field = energy.iter().map(|energy| (energy / strongest * 9.0).min(1.0)).collect();
        let swirl = Swirl::pair(grid, random);
        let angle = (0..grid.len())
            .map(|pixel| {
                let (column, row) = grid.place(pixel);
                let (open_cosine, open_sine) = swirl.direction(column, row);
                let length = cosine[pixel].hypot(sine[pixel]).max(1e-6);
                let share = edge[pixel];
                // Minus, because strokes run along the contour, perpendicular to the gradient.
                let doubled_cosine = -cosine[pixel] / length * share + open_cosine * (1.0 - share);
                let doubled_sine = -sine[pixel] / length * share + open_sine * (1.0 - share);
                doubled_sine.atan2(doubled_cosine) / 2.0
            })
            .collect();
        Self { grid, angle, edge, contour }
    }

    /// The path of a stroke through a point, as long as `length` pixels of the world: along the flow in both directions,
    /// until `may_pass` refuses a pixel.
    fn path(&self, x: f32, y: f32, length: f32, may_pass: impl Fn(usize) -> bool) -> Vec<(f32, f32)> {
        const STEPS: usize = 4;
        let grid = self.grid;
        let length = length * grid.scale;
        let walk = |sense: f32| {
            let (mut x, mut y) = (x, y);
            let mut heading = self.angle[grid.pixel(x, y)] + if sense < 0.0 { PI } else { 0.0 };
            let mut points = Vec::new();
            for _ in 0..STEPS {
                let angle = self.angle[grid.pixel(x, y)];
                heading = if (angle - heading).cos() < 0.0 { angle + PI } else { angle };
                x += heading.cos() * length / (2 * STEPS) as f32;
                y += heading.sin() * length / (2 * STEPS) as f32;
                if !may_pass(grid.pixel(x, y)) {
                    break;
                }
                points.push((x, y));
            }
            points
        };
        let mut path = walk(-1.0);
        path.reverse();
        path.push((x, y));
        path.extend(walk(1.0));
        path
    }
}

/// The centres of two spirals, which set the direction of strokes away from contours.
struct Swirl {
    centres: [(f32, f32); 2],
    scale: f32,
}

impl Swirl {
    fn pair(grid: Grid, random: &mut Random) -> Self {
        let side = SIDE as f32;
        let (x, y) = (random.between(6.0, 58.0), random.between(4.0, 28.0));
        let centres = [(x, y), (side - x + random.between(-8.0, 8.0), side - y)];
        let stretch = (grid.width as f32 / side, grid.height as f32 / side);
        Self { centres: centres.map(|(x, y)| (x * stretch.0, y * stretch.1)), scale: grid.scale }
    }

    /// Cosine and sine of the doubled angle at a pixel.
    fn direction(&self, x: usize, y: usize) -> (f32, f32) {
        let mut sum = (0.12, 0.0);
        for (centre_x, centre_y) in self.centres {
            let (right, down) = ((x as f32 - centre_x) / self.scale, (y as f32 - centre_y) / self.scale);
            let doubled = 2.0 * (down.atan2(right) + PI / 2.0 + 0.25);
            let strength = (-right.hypot(down) / 22.0).exp();
            sum.0 += strength * doubled.cos();
            sum.1 += strength * doubled.sin();
        }
        let length = sum.0.hypot(sum.1).max(1e-6);
        (sum.0 / length, sum.1 / length)
    }
}

/// The canvas, row by row, at a higher resolution than the image.
struct Canvas {
    grid: Grid,
    /// Canvas pixels per image pixel along each axis.
    fine: usize,
    levels: Vec<[f32; 3]>,
}

impl Canvas {
    /// A canvas primed with a dark, blurred version of the colours.
    fn primed(grid: Grid, paints: &[[f32; 3]]) -> Self {
        let soft: [Field; 3] =
            std::array::from_fn(|index| grid.blur(&channel(paints, index), 1.5 * grid.scale));
        // The edges of strokes are smoothed by averaging. Strokes of many pixels need less of it, and large images have
        // no memory for more.
        let fine = match grid.scale {
            ..2.0 => 3,
            2.0..16.0 => 2,
            _ => 1,
        };
        let width = grid.width * fine;
        let level = |index: usize| {
            let pixel = index / width / fine * grid.width + index % width / fine;
            std::array::from_fn(|channel| soft[channel][pixel] * 0.8)
        };
        let levels = (0..width * grid.height * fine).map(level).collect();
        Self { grid, fine, levels }
    }

    /// Paints a ridge along a path, lit from the upper left. `width` in pixels of the world.
    fn stroke(&mut self, path: &[(f32, f32)], width: f32, paint: [f32; 3], opacity: f32) {
        let half = width * self.grid.scale / 2.0;
        let fine = self.fine as f32;
        let [columns, rows] = [self.grid.width, self.grid.height].map(|side| side * self.fine);
        let range = |one: f32, other: f32, side: usize| {
            let to_fine = |position: f32| (position * fine).clamp(0.0, side as f32) as usize;
            to_fine(one.min(other) - half)..(to_fine(one.max(other) + half) + 1).min(side)
        };
        for ends in path.windows(2) {
            let ((ax, ay), (bx, by)) = (ends[0], ends[1]);
            let length = (bx - ax).hypot(by - ay).max(1e-6);
            let (way_x, way_y) = ((bx - ax) / length, (by - ay) / length);
            for row in range(ay, by, rows) {
                for column in range(ax, bx, columns) {
                    let right = (column as f32 + 0.5) / fine - ax;
                    let down = (row as f32 + 0.5) / fine - ay;
                    let along = (right * way_x + down * way_y).clamp(0.0, length);
                    let beside = (right - along * way_x).powi(2) + (down - along * way_y).powi(2);
                    if beside < half * half {
                        let across = (down * way_x - right * way_y) / half;
                        let relief = (way_y - way_x) * across * RELIEF;
                        let level = &mut self.levels[row * columns + column];
                        *level = mix(*level, paint.map(|channel| channel + relief), opacity);
                    }
                }
            }
        }
    }

    /// Averages the canvas down to the resolution of the image.
    fn finish(self) -> Vec<[f32; 3]> {
        let Self { grid, fine, levels } = self;
        let (share, width) = (1.0 / (fine * fine) as f32, grid.width * fine);
        let mut averages = vec![[0.0; 3]; grid.len()];
        for (index, level) in levels.into_iter().enumerate() {
            let pixel = index / width / fine * grid.width + index % width / fine;
            for channel in 0..3 {
                averages[pixel][channel] += level[channel].clamp(0.0, 255.0) * share;
            }
        }
        averages
    }
}
