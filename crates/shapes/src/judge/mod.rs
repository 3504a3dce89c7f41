//! A rule-based judge of what an image shows, without a network:
//!
//! 1. The background is the plane (constant, x, y) fitted to the outer 3 pixels, without outliers.
//! 2. Objects are the 4-connected blobs of at least 40 pixels that differ from that plane by more than 26 levels.
//! 3. An object's colour is the palette entry nearest to the median of the blob's core by the "redmean" distance.
//! 4. Its shape is that of the template with the highest intersection over union with the object's coverage, cropped
//!    and scaled to 32x32, lowered by the difference of the aspect ratios. Below 0.70 the object has no shape.
//! 5. Its size is that of an object of the same shape with the same bounding box.

mod background_plane;
mod blob;
mod clarity;
mod template;
#[cfg(test)]
mod tests;

use crate::image::{Image, SIDE};
use crate::world::{Background, Colour, HeldOutPrompt, PairPrompt, Relation, Shape, Size, Statement, extent};
use background_plane::BackgroundPlane;
use blob::Blob;
pub use clarity::{Clarity, clarity};

/// Pixels that differ from the background by more than this, in levels, belong to objects.
const CONTRAST: f32 = 26.0;
/// Overlap with the best template below which an object has no shape.
const LEAST_OVERLAP: f32 = 0.70;

/// A detected object.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// The shape; `None` if no template overlaps enough.
    pub shape: Option<Shape>,
    /// The nearest named colour.
    pub colour: Colour,
    /// The size it would have as a single object.
    pub size: Size,
    /// The middle of its bounding box, in pixels.
    pub x: f32,
    /// The middle of its bounding box, in pixels.
    pub y: f32,
}

/// Everything detected in an image.
#[derive(Clone, Debug, PartialEq)]
struct Detections {
    background: Background,
    /// The objects, the largest first.
    objects: Vec<Detection>,
}

/// The verdict on an image of a single object: that of the largest blob.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The shape, if one was recognised.
    pub shape: Option<Shape>,
    /// The colour, if an object was detected.
    pub colour: Option<Colour>,
    /// The size, if an object was detected.
    pub size: Option<Size>,
    /// The nearest named background.
    pub background: Background,
}

/// The verdict on an image of two objects: that of the two largest blobs.
#[derive(Clone, Debug, PartialEq)]
pub struct PairVerdict {
    /// The largest object.
    pub first: Detection,
    /// Position of the first object relative to the second.
    pub relation: Relation,
    /// The second largest object.
    pub second: Detection,
}

/// Detects background and objects.
fn detect(image: &Image) -> Detections {
    let levels = image.levels();
    let ground = BackgroundPlane::fit(&levels);
    let distance: Vec<f32> = (0..SIDE * SIDE).map(|pixel| ground.distance(&levels, pixel)).collect();
    let blobs = blob::blobs(&distance, CONTRAST);
    let objects = blobs.iter().filter_map(|blob| recognise(blob, &levels, &ground, &distance)).collect();
    Detections { background: ground.background(), objects }
}

/// Judges an image of one object.
#[must_use]
pub fn judge(image: &Image) -> Verdict {
    let Detections { background, objects } = detect(image);
    let largest = objects.first();
    Verdict {
        shape: largest.and_then(|seen| seen.shape),
        colour: largest.map(|seen| seen.colour),
        size: largest.map(|seen| seen.size),
        background,
    }
}

/// Judges an image of two objects; `None` if fewer are detected.
#[must_use]
pub fn judge_pair(image: &Image) -> Option<PairVerdict> {
    let mut objects = detect(image).objects.into_iter();
    let (first, second) = (objects.next()?, objects.next()?);
    Some(PairVerdict { relation: relation(&first, &second), first, second })
}

/// Position of the first object relative to the second, along the axis on which they lie farther apart.
fn relation(first: &Detection, second: &Detection) -> Relation {
    let (right, down) = (first.x - second.x, first.y - second.y);
    match (right.abs() >= down.abs(), right < 0.0, down < 0.0) {
        (true, true, _) => Relation::LeftOf,
        (true, false, _) => Relation::RightOf,
        (false, _, true) => Relation::Above,
        (false, _, false) => Relation::Below,
    }
}

/// Whether an image shows everything that a caption states: each object with its shape and colour, and size, relation and
/// background where they are stated. Of the detected objects the largest count, as many as the caption names.
#[must_use]
pub fn follows(image: &Image, statement: &Statement) -> bool {
    let Detections { background, mut objects } = detect(image);
    if objects.len() < statement.objects.len()
        || statement.background.is_some_and(|stated| stated != background)
    {
        return false;
    }
    objects.truncate(statement.objects.len());
    let mut found = Vec::with_capacity(objects.len());
    for &looks in &statement.objects {
        let Some(index) = objects.iter().position(|seen| seen.is(looks)) else {
            return false;
        };
        found.push(objects.swap_remove(index));
    }
    let has_size = statement.size.is_none_or(|size| found.iter().all(|seen| seen.size == size));
    let has_relation = match (statement.relation, found.as_slice()) {
        (Some(stated), [first, second]) => relation(first, second) == stated,
        (Some(_), _) => false,
        (None, _) => true,
    };
    has_size && has_relation
}

impl Detection {
    fn is(&self, (shape, colour): (Shape, Colour)) -> bool {
        self.shape == Some(shape) && self.colour == colour
    }
}

impl Verdict {
    /// Whether shape and colour are those of the prompt: the figure that the bundled model's card reports.
    #[must_use]
    pub fn satisfies(&self, prompt: &HeldOutPrompt) -> bool {
        self.shape == Some(prompt.shape) && self.colour == Some(prompt.colour)
    }
}

impl PairVerdict {
    /// Whether both objects of the prompt are present, in any relation.
    #[must_use]
    pub fn shows_both(&self, prompt: &PairPrompt) -> bool {
        (self.first.is(prompt.first) && self.second.is(prompt.second))
            || (self.first.is(prompt.second) && self.second.is(prompt.first))
    }

    /// Whether both objects of the prompt are present in the relation of the prompt.
    #[must_use]
    pub fn satisfies(&self, prompt: &PairPrompt) -> bool {
        let as_asked = self.first.is(prompt.first) && self.second.is(prompt.second);
        let swapped = self.first.is(prompt.second) && self.second.is(prompt.first);
        (as_asked && self.relation == prompt.relation)
            || (swapped && self.relation.inverse() == prompt.relation)
    }
}

/// Classifies a blob; `None` if it covers too little to have a shape.
fn recognise(
    blob: &Blob,
    levels: &[[f32; 3]],
    ground: &BackgroundPlane,
    distance: &[f32],
) -> Option<Detection> {
    let colour = core_colour(blob, levels, distance);
    // Soft coverage: the position of each pixel between the colours of background and object, 0 to 1.
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
    let span = fit.bounds.width().max(fit.bounds.height()) as f32;
    let (x, y) = fit.bounds.middle();
    Some(Detection {
        shape: (fit.iou >= LEAST_OVERLAP).then_some(fit.shape),
        colour: nearest_colour(colour),
        size: Size::of_radius(span / extent(fit.shape).span()),
        x,
        y,
    })
}

/// The median of each channel over the pixels that differ most from the background, which leaves out the antialiased
/// edge.
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

/// The squared "redmean" distance of two colours, an approximation of perceptual difference (Riemersma, "Colour
/// metric").
fn redmean(one: [f32; 3], other: [f32; 3]) -> f32 {
    let red = (one[0] + other[0]) / 2.0;
    let square = |channel: usize| (one[channel] - other[channel]).powi(2);
    (2.0 + red / 256.0) * square(0) + 4.0 * square(1) + (2.0 + (255.0 - red) / 256.0) * square(2)
}
