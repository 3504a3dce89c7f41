//! What an image shows, told by a stated rule and by no network.
//!
//! 1. The background is the plane (constant, x, y) fitted to the outer 3 pixels, without outliers.
//! 2. Objects are the 4-connected blobs of at least 40 pixels that differ from that plane by more than 26 levels.
//! 3. An object's colour is the palette entry nearest to the median of the blob's core by the "redmean" distance.
//! 4. Its shape is that of the template which its coverage, cropped and scaled to 32x32, overlaps best (intersection over union, less
//!    where the aspect ratios differ); below 0.70 it has none.
//! 5. Its size follows from the extent of its box and of its shape.

mod blob;
mod ground;
mod template;

use crate::image::{Image, SIDE};
use crate::world::{Background, Colour, HeldOutPrompt, PairPrompt, Relation, Shape, Size, extent};
use blob::Blob;
use ground::Ground;

/// Difference from the background, in levels, from which on a pixel belongs to an object.
const CONTRAST: f32 = 26.0;
/// Overlap with the best template below which a blob has no shape.
const LEAST_OVERLAP: f32 = 0.70;

/// An object that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its shape, if it has one.
    pub shape: Option<Shape>,
    /// The nearest colour.
    pub colour: Colour,
    /// The size it would have as a single object.
    pub size: Size,
    /// The overlap with the best template.
    pub iou: f32,
    /// The middle of its box.
    pub x: f32,
    /// The middle of its box.
    pub y: f32,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// The nearest background.
    pub background: Background,
    /// The objects, the largest first.
    pub objects: Vec<Seen>,
}

/// The verdict on an image of a single object: about the largest blob.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The shape, if one was recognised.
    pub shape: Option<Shape>,
    /// The colour, if anything was found.
    pub colour: Option<Colour>,
    /// The size, if anything was found.
    pub size: Option<Size>,
    /// The nearest background.
    pub background: Background,
    /// The overlap with the best template, 0 where nothing was found.
    pub iou: f32,
}

/// The verdict on an image of two objects: about the two largest blobs.
#[derive(Clone, Debug, PartialEq)]
pub struct PairVerdict {
    /// One object.
    pub first: Seen,
    /// Where it lies, seen from the other.
    pub relation: Relation,
    /// The other.
    pub second: Seen,
    /// The nearest background.
    pub background: Background,
}

/// Finds every object.
#[must_use]
pub fn look(image: &Image) -> Sight {
    let levels = image.levels();
    let ground = Ground::fit(&levels);
    let distance: Vec<f32> = (0..SIDE * SIDE).map(|pixel| ground.distance(&levels, pixel)).collect();
    let blobs = blob::blobs(&distance, CONTRAST);
    let objects = blobs.iter().filter_map(|blob| recognise(blob, &levels, &ground, &distance)).collect();
    Sight { background: ground.background(), objects }
}

/// Judges an image of one object.
#[must_use]
pub fn judge(image: &Image) -> Verdict {
    let Sight { background, objects } = look(image);
    let largest = objects.first();
    Verdict {
        shape: largest.and_then(|seen| seen.shape),
        colour: largest.map(|seen| seen.colour),
        size: largest.map(|seen| seen.size),
        background,
        iou: largest.map_or(0.0, |seen| seen.iou),
    }
}

/// Judges an image of two objects; `None` where fewer were found.
#[must_use]
pub fn judge_pair(image: &Image) -> Option<PairVerdict> {
    let Sight { background, objects } = look(image);
    let mut objects = objects.into_iter();
    let (first, second) = (objects.next()?, objects.next()?);
    let (right, down) = (first.x - second.x, first.y - second.y);
    let relation = match (right.abs() >= down.abs(), right < 0.0, down < 0.0) {
        (true, true, _) => Relation::LeftOf,
        (true, false, _) => Relation::RightOf,
        (false, _, true) => Relation::Above,
        (false, _, false) => Relation::Below,
    };
    Some(PairVerdict { first, relation, second, background })
}

impl Seen {
    fn is(&self, (shape, colour): (Shape, Colour)) -> bool {
        self.shape == Some(shape) && self.colour == colour
    }
}

impl Verdict {
    /// Whether the asked shape has the asked colour: the bar of the bundled model.
    #[must_use]
    pub fn satisfies(&self, prompt: &HeldOutPrompt) -> bool {
        self.shape == Some(prompt.shape) && self.colour == Some(prompt.colour)
    }
}

impl PairVerdict {
    /// Whether both asked objects are there, wherever they lie.
    #[must_use]
    pub fn shows_both(&self, prompt: &PairPrompt) -> bool {
        (self.first.is(prompt.first) && self.second.is(prompt.second))
            || (self.first.is(prompt.second) && self.second.is(prompt.first))
    }

    /// Whether both asked objects are there in the asked relation.
    #[must_use]
    pub fn satisfies(&self, prompt: &PairPrompt) -> bool {
        let as_asked = self.first.is(prompt.first) && self.second.is(prompt.second);
        let swapped = self.first.is(prompt.second) && self.second.is(prompt.first);
        (as_asked && self.relation == prompt.relation)
            || (swapped && self.relation.inverse() == prompt.relation)
    }
}

/// What a blob is; `None` where its covered part is too little to have a form.
fn recognise(blob: &Blob, levels: &[[f32; 3]], ground: &Ground, distance: &[f32]) -> Option<Seen> {
    let colour = core_colour(blob, levels, distance);
    // Soft coverage: how far each pixel has gone from the background to the object's colour.
    let mut covered = vec![0.0; SIDE * SIDE];
    for pixel in blob.with_rim() {
        let behind = ground.at(pixel);
        let (mut along, mut whole) = (0.0, 1e-6);
        for channel in 0..3 {
            let way = colour[channel] - behind[channel];
            along += (levels[pixel][channel] - behind[channel]) * way;
            whole += way * way;
        }
        covered[pixel] = (along / whole).clamp(0.0, 1.0);
    }
    let fit = template::best(&covered)?;
    let span = fit.area.width().max(fit.area.height()) as f32;
    let (x, y) = fit.area.middle();
    Some(Seen {
        shape: (fit.iou >= LEAST_OVERLAP).then_some(fit.shape),
        colour: nearest_colour(colour),
        size: Size::of_radius(span / extent(fit.shape).span()),
        iou: fit.iou,
        x,
        y,
    })
}

/// The median, per channel, of the pixels that differ most from the background; mixed pixels of the rim stay out.
fn core_colour(blob: &Blob, levels: &[[f32; 3]], distance: &[f32]) -> [f32; 3] {
    let mut distances: Vec<f32> = blob.pixels.iter().map(|&pixel| distance[pixel]).collect();
    let upper = *distances.select_nth_unstable_by(blob.pixels.len() * 3 / 4, f32::total_cmp).1;
    let core = blob.pixels.iter().filter(|&&pixel| distance[pixel] > 0.6 * upper);
    std::array::from_fn(|channel| {
        let mut values: Vec<f32> = core.clone().map(|&pixel| levels[pixel][channel]).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable_by(middle, f32::total_cmp).1
    })
}

fn nearest_colour(levels: [f32; 3]) -> Colour {
    let distance = |colour: Colour| redmean(levels, colour.levels());
    let nearer = |best: Colour, &next: &Colour| if distance(next) < distance(best) { next } else { best };
    Colour::ALL.iter().fold(Colour::Red, nearer)
}

/// A cheap distance of colours that weighs the channels about as eyes do.
fn redmean(one: [f32; 3], other: [f32; 3]) -> f32 {
    let red = (one[0] + other[0]) / 2.0;
    let square = |channel: usize| (one[channel] - other[channel]).powi(2);
    (2.0 + red / 256.0) * square(0) + 4.0 * square(1) + (2.0 + (255.0 - red) / 256.0) * square(2)
}
