//! Scenes: the objects, background and shading of an image, drawn from a seed.

use std::f32::consts::{PI, TAU};

use super::name::{Background, Colour, Relation, Shape, Size};
use super::outline::extent;
use super::split::{Split, allowed, held_out};
use crate::image::SIDE;
use crate::random::Random;

/// How many objects a scene has, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One object within 6 pixels of the middle.
    Centred,
    /// One object within 14 pixels of the middle, or as far as it fits into the image.
    Single,
    /// Two objects and their relation.
    Pair,
    /// Three objects.
    Triple,
    /// 65% `Single`, 25% `Pair`, 10% `Triple`.
    Mixed,
}

/// An object of a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The outline.
    pub shape: Shape,
    /// The named colour; the painted one varies around it.
    pub colour: Colour,
    /// The size of an object that is alone. One of several objects has a radius between small and medium, which no
    /// caption states.
    pub size: Option<Size>,
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) radius: f32,
    pub(crate) tint: [f32; 3],
}

/// A linear gradient of brightness across the background.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shading {
    pub(crate) angle: f32,
    pub(crate) strength: f32,
}

/// Everything that determines an image of the world and its caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The named colour of the background; the painted one varies around it.
    pub background: Background,
    /// The objects, in the order of the caption.
    pub objects: Vec<Object>,
    /// The relation of exactly two objects.
    pub relation: Option<Relation>,
    pub(crate) tint: [f32; 3],
    pub(crate) shading: Option<Shading>,
    /// A number in [0, 1) that selects the wording of the caption.
    pub(crate) wording: f32,
}

/// Draws the scene of a seed. Scenes of different splits or kinds are independent under one seed.
#[must_use]
pub fn scene(seed: u64, split: Split, kind: Kind) -> Scene {
    let random = &mut Random::new(&format!("scene {split:?} {kind:?}"), seed);
    let kind = match kind {
        Kind::Mixed => match random.uniform() {
            u if u < 0.65 => Kind::Single,
            u if u < 0.90 => Kind::Pair,
            _ => Kind::Triple,
        },
        other => other,
    };
    let count = match kind {
        Kind::Pair => 2,
        Kind::Triple => 3,
        _ => 1,
    };
    let (background, looks) = draw_looks(random, split, count);
    let relation = (kind == Kind::Pair).then(|| random.pick(Relation::ALL));
    let size = (count == 1).then(|| random.pick(Size::ALL));
    let jitter = if kind == Kind::Centred { 6.0 } else { 14.0 };
    Content { background, looks, size, relation, jitter }.compose(random)
}

/// What a caption can state about a scene, without positions. Many scenes have the same content.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) background: Background,
    /// Shape and colour of each object.
    pub(crate) looks: Vec<(Shape, Colour)>,
    /// The size of a single object.
    pub(crate) size: Option<Size>,
    /// The relation of two objects.
    pub(crate) relation: Option<Relation>,
    /// The largest distance of a single object from the middle, per axis and in pixels.
    pub(crate) jitter: f32,
}

impl Content {
    /// Draws a scene with this content.
    pub(crate) fn compose(&self, random: &mut Random) -> Scene {
        let objects = match (self.size, self.relation) {
            (Some(size), _) => vec![place_single(random, self.looks[0], size, self.jitter)],
            (None, Some(relation)) => place_pair(random, &self.looks, relation),
            (None, None) => place_triple(random, &self.looks),
        };
        let tint = random.tint(6.0);
        let shading = random
            .chance(0.5)
            .then(|| Shading { angle: random.between(0.0, TAU), strength: random.between(10.0, 34.0) });
        Scene {
            background: self.background,
            objects,
            relation: self.relation,
            tint,
            shading,
            wording: random.uniform(),
        }
    }
}

/// Draws a background and the shapes and colours of `count` different objects on it, as the split allows.
pub(super) fn draw_looks(
    random: &mut Random,
    split: Split,
    count: usize,
) -> (Background, Vec<(Shape, Colour)>) {
    let (first, background) = loop {
        let looks = (random.pick(Shape::ALL), random.pick(Colour::ALL));
        let background = random.pick(Background::ALL);
        let unseen = held_out(looks.0, looks.1, background);
        if allowed(looks.1, background) && unseen == (split == Split::HeldOut) {
            break (looks, background);
        }
    };
    let mut chosen = vec![first];
    while chosen.len() < count {
        let looks = (random.pick(Shape::ALL), random.pick(Colour::ALL));
        let unseen = split == Split::Train && held_out(looks.0, looks.1, background);
        if allowed(looks.1, background) && !unseen && !chosen.contains(&looks) {
            chosen.push(looks);
        }
    }
    (background, chosen)
}

fn object(random: &mut Random, (shape, colour): (Shape, Colour), radius: f32) -> Object {
    Object { shape, colour, size: None, x: 32.0, y: 32.0, radius, tint: random.tint(7.0) }
}

fn place_single(random: &mut Random, looks: (Shape, Colour), size: Size, jitter: f32) -> Object {
    let (least, most) = size.radii();
    let radius = random.between(least, most);
    let mut object = object(random, looks, radius);
    object.size = Some(size);
    // The outer 3 pixels stay free: the judge fits the background to them.
    let room = (SIDE as f32 / 2.0 - 3.0 - radius * extent(looks.0).reach()).clamp(0.0, jitter);
    object.x += random.between(-room, room);
    object.y += random.between(-room, room);
    object
}

/// Places two objects at least `GAP` pixels apart along the axis of their relation, with a random offset across it.
fn place_pair(random: &mut Random, chosen: &[(Shape, Colour)], relation: Relation) -> Vec<Object> {
    const MARGIN: f32 = 1.5;
    const GAP: f32 = 2.5;
    let mut objects: Vec<Object> = chosen
        .iter()
        .map(|&looks| {
            let radius = random.between(10.5, 12.5);
            object(random, looks, radius)
        })
        .collect();
    let horizontal = matches!(relation, Relation::LeftOf | Relation::RightOf);
    let along = |object: &Object| {
        let extent = extent(object.shape);
        let (before, after) =
            if horizontal { (extent.side, extent.side) } else { (extent.top, extent.bottom) };
        (before * object.radius, after * object.radius)
    };
    let (near, far) = if matches!(relation, Relation::LeftOf | Relation::Above) { (0, 1) } else { (1, 0) };
    let ((near_before, near_after), (far_before, far_after)) = (along(&objects[near]), along(&objects[far]));
    let occupied = near_before + near_after + far_before + far_after;
    let slack = (SIDE as f32 - 2.0 * MARGIN - GAP - occupied).max(0.0);
    let (lead, tail) = (random.between(0.0, slack / 2.0), random.between(0.0, slack / 2.0));
    let positions = [(near, MARGIN + lead + near_before), (far, SIDE as f32 - MARGIN - tail - far_after)];
    for (index, position) in positions {
        let across = 32.0 + random.between(-9.0, 9.0);
        let object = &mut objects[index];
        (object.x, object.y) = if horizontal { (position, across) } else { (across, position) };
    }
    objects
}

/// Places three objects around the middle, about 120 degrees apart, the first at the top.
fn place_triple(random: &mut Random, chosen: &[(Shape, Colour)]) -> Vec<Object> {
    let place = |(index, &looks): (usize, &(Shape, Colour))| {
        let radius = random.between(9.5, 11.0);
        let angle = index as f32 * TAU / 3.0 - PI / 2.0 + random.between(-0.2, 0.2);
        let mut object = object(random, looks, radius);
        object.x = 32.0 + 18.5 * angle.cos();
        object.y = 33.0 + 18.5 * angle.sin();
        object
    };
    chosen.iter().enumerate().map(place).collect()
}
