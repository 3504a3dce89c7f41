//! What an image shows: drawn from a seed, before anything is painted or said.

use std::f32::consts::{PI, TAU};

use super::name::{Background, Colour, Relation, Shape, Size};
use super::outline::extent;
use super::split::{Split, allowed, held_out};
use crate::dice::Dice;
use crate::image::SIDE;

/// How many objects, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One object within 6 pixels of the middle.
    Centred,
    /// One object within 14 pixels of the middle, as far as it fits.
    Single,
    /// Two objects and their relation.
    Pair,
    /// Three objects.
    Triple,
    /// Of every hundred 65 single, 25 pairs, 10 triples.
    Mixed,
}

/// One thing in a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its shape.
    pub shape: Shape,
    /// Its colour.
    pub colour: Colour,
    /// Its size, where it is alone; objects in company have sizes between small and medium that no caption tells.
    pub size: Option<Size>,
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) radius: f32,
    pub(crate) tint: [f32; 3],
}

/// A linear change of light across the background.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grade {
    pub(crate) angle: f32,
    pub(crate) strength: f32,
}

/// All that an image shows and its caption may tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// What is behind the objects.
    pub background: Background,
    /// In the order of the caption.
    pub objects: Vec<Object>,
    /// Where the first of exactly two objects lies.
    pub relation: Option<Relation>,
    pub(crate) tint: [f32; 3],
    pub(crate) grade: Option<Grade>,
    /// Which of the ways to say it the caption takes.
    pub(crate) wording: f32,
}

/// The scene of a seed. Scenes of different splits or kinds are unrelated even under one seed.
#[must_use]
pub fn scene(seed: u64, split: Split, kind: Kind) -> Scene {
    let dice = &mut Dice::new(&format!("scene {split:?} {kind:?}"), seed);
    let kind = match kind {
        Kind::Mixed => match dice.unit() {
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
    let (background, looks) = company(dice, split, count);
    let relation = (kind == Kind::Pair).then(|| dice.pick(Relation::ALL));
    let size = (count == 1).then(|| dice.pick(Size::ALL));
    let jitter = if kind == Kind::Centred { 6.0 } else { 14.0 };
    Content { background, looks, size, relation, jitter }.compose(dice)
}

/// What there is to tell of a scene, before anything has its place. Many scenes have the same content.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) background: Background,
    pub(crate) looks: Vec<(Shape, Colour)>,
    /// Of a single object.
    pub(crate) size: Option<Size>,
    /// Of two objects.
    pub(crate) relation: Option<Relation>,
    /// How far from the middle a single object may lie.
    pub(crate) jitter: f32,
}

impl Content {
    /// A scene of this content.
    pub(crate) fn compose(&self, dice: &mut Dice) -> Scene {
        let objects = match (self.size, self.relation) {
            (Some(size), _) => vec![place_single(dice, self.looks[0], size, self.jitter)],
            (None, Some(relation)) => place_pair(dice, &self.looks, relation),
            (None, None) => place_triple(dice, &self.looks),
        };
        let tint = dice.tint(6.0);
        let grade = dice
            .chance(0.5)
            .then(|| Grade { angle: dice.between(0.0, TAU), strength: dice.between(10.0, 34.0) });
        Scene {
            background: self.background,
            objects,
            relation: self.relation,
            tint,
            grade,
            wording: dice.unit(),
        }
    }
}

/// A background and the looks of different objects that may lie on it.
pub(super) fn company(dice: &mut Dice, split: Split, count: usize) -> (Background, Vec<(Shape, Colour)>) {
    let (first, background) = loop {
        let looks = (dice.pick(Shape::ALL), dice.pick(Colour::ALL));
        let background = dice.pick(Background::ALL);
        let unseen = held_out(looks.0, looks.1, background);
        if allowed(looks.1, background) && unseen == (split == Split::HeldOut) {
            break (looks, background);
        }
    };
    let mut chosen = vec![first];
    while chosen.len() < count {
        let looks = (dice.pick(Shape::ALL), dice.pick(Colour::ALL));
        let unseen = split == Split::Train && held_out(looks.0, looks.1, background);
        if allowed(looks.1, background) && !unseen && !chosen.contains(&looks) {
            chosen.push(looks);
        }
    }
    (background, chosen)
}

fn object(dice: &mut Dice, (shape, colour): (Shape, Colour), radius: f32) -> Object {
    Object { shape, colour, size: None, x: 32.0, y: 32.0, radius, tint: dice.tint(7.0) }
}

fn place_single(dice: &mut Dice, looks: (Shape, Colour), size: Size, jitter: f32) -> Object {
    let (least, most) = size.radii();
    let radius = dice.between(least, most);
    let mut object = object(dice, looks, radius);
    object.size = Some(size);
    // The outer 3 pixels stay free: by them the judge knows the background.
    let room = (SIDE as f32 / 2.0 - 3.0 - radius * extent(looks.0).reach()).clamp(0.0, jitter);
    object.x += dice.between(-room, room);
    object.y += dice.between(-room, room);
    object
}

/// Along the axis of the relation the two lie apart by at least `GAP`, across it they are moved a little.
fn place_pair(dice: &mut Dice, chosen: &[(Shape, Colour)], relation: Relation) -> Vec<Object> {
    const MARGIN: f32 = 1.5;
    const GAP: f32 = 2.5;
    let mut objects: Vec<Object> = chosen
        .iter()
        .map(|&looks| {
            let radius = dice.between(10.5, 12.5);
            object(dice, looks, radius)
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
    let (lead, tail) = (dice.between(0.0, slack / 2.0), dice.between(0.0, slack / 2.0));
    let positions = [(near, MARGIN + lead + near_before), (far, SIDE as f32 - MARGIN - tail - far_after)];
    for (index, position) in positions {
        let across = 32.0 + dice.between(-9.0, 9.0);
        let object = &mut objects[index];
        (object.x, object.y) = if horizontal { (position, across) } else { (across, position) };
    }
    objects
}

/// Around the middle, a third of a turn apart, the first on top.
fn place_triple(dice: &mut Dice, chosen: &[(Shape, Colour)]) -> Vec<Object> {
    let place = |(index, &looks): (usize, &(Shape, Colour))| {
        let radius = dice.between(9.5, 11.0);
        let angle = index as f32 * TAU / 3.0 - PI / 2.0 + dice.between(-0.2, 0.2);
        let mut object = object(dice, looks, radius);
        object.x = 32.0 + 18.5 * angle.cos();
        object.y = 33.0 + 18.5 * angle.sin();
        object
    };
    chosen.iter().enumerate().map(place).collect()
}
