//! The Van Gogh style: curved strokes of thick paint that swirl in open areas and follow contours near objects, with a
//! palette of ultramarine, ochre and saturated colours.

use std::f32::consts::PI;

use crate::field::{self, Field, blur, brightness, channel, gradient, mix};
use crate::image::{Image, SIDE};
use crate::random::Random;

/// Canvas pixels per image pixel along each axis.
const FINE: usize = 3;
/// How much lighter or darker the two sides of a stroke are, in levels.
const RELIEF: f32 = 24.0;

const ULTRAMARINE: [f32; 3] = [28.0, 58.0, 150.0];
const OCHRE: [f32; 3] = [250.0, 214.0, 120.0];
const CONTOUR: [f32; 3] = [22.0, 30.0, 72.0];

/// Redraws the image in brush strokes.
pub(super) fn van_gogh(image: &Image, seed: u64) -> Image {
    let random = &mut Random::new("van gogh", seed);
    let levels = image.levels();
    let flow = Flow::of(&levels, random);
    let paints: Vec<[f32; 3]> = levels.iter().map(|&level| on_the_palette(level)).collect();
    let mut canvas = Canvas::primed(&paints);
    for (strokes, length, width) in [(420, 15.0, 2.8), (760, 9.0, 2.0)] {
        for _ in 0..strokes {
            let (x, y) = (random.between(0.0, SIDE as f32), random.between(0.0, SIDE as f32));
            let pixel = field::pixel(x, y);
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
    for _ in 0..500 {
        let (x, y) = (random.between(0.0, SIDE as f32), random.between(0.0, SIDE as f32));
        if flow.contour[field::pixel(x, y)] > 0.55 {
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
    angle: Field,
    /// Closeness to a contour, 0 to 1.
    edge: Field,
    /// Strength of the contour at the pixel, 0 to 1.
    contour: Field,
}

impl Flow {
    /// Computes the directions from the structure tensor: angles are doubled for averaging, so that opposite directions
    /// are equal.
    fn of(levels: &[[f32; 3]], random: &mut Random) -> Self {
        let mut tensor = [vec![0.0; SIDE * SIDE], vec![0.0; SIDE * SIDE], vec![0.0; SIDE * SIDE]];
        for index in 0..3 {
            let (along_x, along_y) = gradient(&blur(&channel(levels, index), 0.8));
            for (pixel, (gx, gy)) in along_x.into_iter().zip(along_y).enumerate() {
                tensor[0][pixel] += gx * gx - gy * gy;
                tensor[1][pixel] += 2.0 * gx * gy;
                tensor[2][pixel] += gx * gx + gy * gy;
            }
        }
        let strongest = tensor[2].iter().copied().fold(1.0, f32::max);
        let contour = tensor[2].iter().map(|energy| (energy / strongest).sqrt()).collect();
        // A narrow blur for the contour, a wide one for the strokes around it.
        let spread = |part: &Field| -> Field {
            let wide = blur(part, 5.0);
            blur(part, 1.5).into_iter().zip(wide).map(|(narrow, wide)| narrow + 2.0 * wide).collect()
        };
        let [cosine, sine, energy] = tensor.each_ref().map(spread);
        let edge: Field = energy.iter().map(|energy| (energy / strongest * 9.0).min(1.0)).collect();
        let swirl = Swirl::pair(random);
        let angle = (0..SIDE * SIDE)
            .map(|pixel| {
                let (open_cosine, open_sine) = swirl.direction(pixel % SIDE, pixel / SIDE);
                let length = cosine[pixel].hypot(sine[pixel]).max(1e-6);
                let share = edge[pixel];
                // Minus, because strokes run along the contour, perpendicular to the gradient.
                let doubled_cosine = -cosine[pixel] / length * share + open_cosine * (1.0 - share);
                let doubled_sine = -sine[pixel] / length * share + open_sine * (1.0 - share);
                doubled_sine.atan2(doubled_cosine) / 2.0
            })
            .collect();
        Self { angle, edge, contour }
    }

    /// The path of a stroke through a point: along the flow in both directions, until `may_pass` refuses a pixel.
    fn path(&self, x: f32, y: f32, length: f32, may_pass: impl Fn(usize) -> bool) -> Vec<(f32, f32)> {
        const STEPS: usize = 4;
        let walk = |sense: f32| {
            let (mut x, mut y) = (x, y);
            let mut heading = self.angle[field::pixel(x, y)] + if sense < 0.0 { PI } else { 0.0 };
            let mut points = Vec::new();
            for _ in 0..STEPS {
                let angle = self.angle[field::pixel(x, y)];
                heading = if (angle - heading).cos() < 0.0 { angle + PI } else { angle };
                x += heading.cos() * length / (2 * STEPS) as f32;
                y += heading.sin() * length / (2 * STEPS) as f32;
                if !may_pass(field::pixel(x, y)) {
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
struct Swirl([(f32, f32); 2]);

impl Swirl {
    fn pair(random: &mut Random) -> Self {
        let (x, y) = (random.between(6.0, 58.0), random.between(4.0, 28.0));
        Self([(x, y), (SIDE as f32 - x + random.between(-8.0, 8.0), SIDE as f32 - y)])
    }

    /// Cosine and sine of the doubled angle at a pixel.
    fn direction(&self, x: usize, y: usize) -> (f32, f32) {
        let mut sum = (0.12, 0.0);
        for (centre_x, centre_y) in self.0 {
            let (right, down) = (x as f32 - centre_x, y as f32 - centre_y);
            let doubled = 2.0 * (down.atan2(right) + PI / 2.0 + 0.25);
            let strength = (-right.hypot(down) / 22.0).exp();
            sum.0 += strength * doubled.cos();
            sum.1 += strength * doubled.sin();
        }
        let length = sum.0.hypot(sum.1).max(1e-6);
        (sum.0 / length, sum.1 / length)
    }
}

/// The canvas, row by row, at `FINE` times the resolution of the image.
struct Canvas(Vec<[f32; 3]>);

impl Canvas {
    const WIDTH: usize = SIDE * FINE;

    /// A canvas primed with a dark, blurred version of the colours.
    fn primed(paints: &[[f32; 3]]) -> Self {
        let soft: [Field; 3] = std::array::from_fn(|index| blur(&channel(paints, index), 1.5));
        let fine = |index: usize| {
            let pixel = index / Self::WIDTH / FINE * SIDE + index % Self::WIDTH / FINE;
            std::array::from_fn(|channel| soft[channel][pixel] * 0.8)
        };
        Self((0..Self::WIDTH * Self::WIDTH).map(fine).collect())
    }

    /// Paints a ridge along a path, lit from the upper left.
    fn stroke(&mut self, path: &[(f32, f32)], width: f32, paint: [f32; 3], opacity: f32) {
        let half = width / 2.0;
        let to_fine = |position: f32| (position * FINE as f32).clamp(0.0, Self::WIDTH as f32) as usize;
        let range = |one: f32, other: f32| {
            to_fine(one.min(other) - half)..(to_fine(one.max(other) + half) + 1).min(Self::WIDTH)
        };
        for ends in path.windows(2) {
            let ((ax, ay), (bx, by)) = (ends[0], ends[1]);
            let length = (bx - ax).hypot(by - ay).max(1e-6);
            let (way_x, way_y) = ((bx - ax) / length, (by - ay) / length);
            for row in range(ay, by) {
                for column in range(ax, bx) {
                    let right = (column as f32 + 0.5) / FINE as f32 - ax;
                    let down = (row as f32 + 0.5) / FINE as f32 - ay;
                    let along = (right * way_x + down * way_y).clamp(0.0, length);
                    let beside = (right - along * way_x).powi(2) + (down - along * way_y).powi(2);
                    if beside < half * half {
                        let across = (down * way_x - right * way_y) / half;
                        let relief = (way_y - way_x) * across * RELIEF;
                        let level = &mut self.0[row * Self::WIDTH + column];
                        *level = mix(*level, paint.map(|channel| channel + relief), opacity);
                    }
                }
            }
        }
    }

    /// Averages the canvas down to the resolution of the image.
    fn finish(self) -> Image {
        let share = 1.0 / (FINE * FINE) as f32;
        let mut levels = vec![[0.0; 3]; SIDE * SIDE];
        for (index, fine) in self.0.into_iter().enumerate() {
            let pixel = index / Self::WIDTH / FINE * SIDE + index % Self::WIDTH / FINE;
            for channel in 0..3 {
                levels[pixel][channel] += fine[channel].clamp(0.0, 255.0) * share;
            }
        }
        Image::from_levels(&levels)
    }
}
