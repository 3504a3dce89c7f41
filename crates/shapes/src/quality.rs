//! The quality set: preference pairs whose winner is clean and matches the caption, and whose loser is another image of
//! the same caption with one flaw. A share of the labels is swapped, as human labels contain errors.

use crate::field::{Grid, brightness, channel, mix};
use crate::image::{Image, SIDE};
use crate::random::Random;
use crate::world::{
    Background, Colour, Content, Kind, Relation, Scene, Shape, Size, Split, allowed, held_out, scene,
};

/// Share of pairs whose winner and loser are swapped.
const LABEL_NOISE: f32 = 0.05;

/// The flaw of a loser: poor quality or a contradiction of its caption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Out of focus.
    Blurred,
    /// With Gaussian noise added to every pixel.
    Noisy,
    /// Low in colour and contrast.
    Faded,
    /// Pixelated, in blocks of 4 to 8 pixels.
    Blocky,
    /// One object has another shape than the caption says.
    WrongShape,
    /// One object has another colour than the caption says.
    WrongColour,
    /// The background is another than the caption says.
    WrongBackground,
    /// The object has another size than the caption says.
    WrongSize,
    /// The objects have another relation than the caption says.
    WrongRelation,
}

impl Flaw {
    /// Every flaw, first those of quality, then the contradictions.
    pub const ALL: &[Self] = &[
        Self::Blurred,
        Self::Noisy,
        Self::Faded,
        Self::Blocky,
        Self::WrongShape,
        Self::WrongColour,
        Self::WrongBackground,
        Self::WrongSize,
        Self::WrongRelation,
    ];

    /// Whether the flaw contradicts the caption; the others lower the quality.
    #[must_use]
    pub fn contradicts(self) -> bool {
        !matches!(self, Self::Blurred | Self::Noisy | Self::Faded | Self::Blocky)
    }
}

/// A preference pair of the quality set.
#[derive(Clone, Debug, PartialEq)]
pub struct QualityPair {
    /// The caption of both images.
    pub caption: String,
    /// The preferred image.
    pub winner: Image,
    /// The rejected image.
    pub loser: Image,
    /// The flaw of the loser, or of the winner if the two were swapped.
    pub flaw: Flaw,
    /// Whether label noise swapped winner and loser.
    pub swapped: bool,
}

/// Generates the pair of a seed. Half of the flaws lower the quality, half contradict the caption. No image shows a
/// held-out combination.
#[must_use]
pub fn quality_pair(seed: u64) -> QualityPair {
    let random = &mut Random::new("quality pair", seed);
    let scene = scene(seed, Split::Train, Kind::Mixed);
    let caption = scene.caption();
    let contradiction = random.chance(0.5);
    let mut flaws: Vec<Flaw> = Flaw::ALL
        .iter()
        .copied()
        .filter(|flaw| flaw.contradicts() == contradiction && can_contradict(*flaw, &scene, &caption))
        .collect();
    random.shuffle(&mut flaws);
    let content = content(&scene);
    let flawed = flaws.into_iter().find_map(|flaw| Some((flaw, flawed_content(&content, flaw, random)?)));
    let (flaw, content) = flawed.unwrap_or((Flaw::Blurred, content));
    let flawed = degrade(&content.compose(random).paint(), flaw, random);
    let swapped = random.chance(LABEL_NOISE);
    let (winner, loser) = if swapped { (flawed, scene.paint()) } else { (scene.paint(), flawed) };
    QualityPair { caption, winner, loser, flaw, swapped }
}

fn content(scene: &Scene) -> Content {
    Content {
        background: scene.background,
        looks: scene.objects.iter().map(|object| (object.shape, object.colour)).collect(),
        size: scene.objects[0].size,
        relation: scene.relation,
        jitter: 14.0,
    }
}

/// Whether the caption states what the flaw changes. No object has the colour of the background, so a caption that
/// contains the background's name states the background.
fn can_contradict(flaw: Flaw, scene: &Scene, caption: &str) -> bool {
    match flaw {
        Flaw::WrongBackground => caption.contains(scene.background.name()),
        Flaw::WrongSize => scene.objects[0].size.is_some_and(|size| caption.contains(size.name())),
        Flaw::WrongRelation => scene.relation.is_some(),
        _ => true,
    }
}

/// The content with the flaw's contradiction in it; unchanged for flaws of quality. `None` if every change would show a
/// held-out combination or leave the caption true.
fn flawed_content(content: &Content, flaw: Flaw, random: &mut Random) -> Option<Content> {
    let mut content = content.clone();
    let looks = content.looks.clone();
    let changed = random.below(looks.len());
    let (shape, colour) = looks[changed];
    let fits = |looks: (Shape, Colour), background: Background| {
        allowed(looks.1, background) && !held_out(looks.0, looks.1, background)
    };
    match flaw {
        Flaw::WrongShape => {
            let wrong = |&other: &Shape| {
                !looks.contains(&(other, colour)) && fits((other, colour), content.background)
            };
            content.looks[changed].0 = choose(random, Shape::ALL, wrong)?;
        }
        Flaw::WrongColour => {
            let wrong = |&other: &Colour| {
                !looks.contains(&(shape, other)) && fits((shape, other), content.background)
            };
            content.looks[changed].1 = choose(random, Colour::ALL, wrong)?;
        }
        Flaw::WrongBackground => {
            let wrong = |&other: &Background| {
                other != content.background && looks.iter().all(|&looks| fits(looks, other))
            };
            content.background = choose(random, Background::ALL, wrong)?;
        }
        Flaw::WrongSize => {
            content.size = Some(choose(random, Size::ALL, |&other| Some(other) != content.size)?);
        }
        Flaw::WrongRelation => {
            content.relation = Some(choose(random, Relation::ALL, |&other| Some(other) != content.relation)?);
        }
        Flaw::Blurred | Flaw::Noisy | Flaw::Faded | Flaw::Blocky => {}
    }
    Some(content)
}

fn choose<T: Copy>(random: &mut Random, all: &[T], wanted: impl Fn(&T) -> bool) -> Option<T> {
    let wanted: Vec<T> = all.iter().copied().filter(wanted).collect();
    (!wanted.is_empty()).then(|| random.pick(&wanted))
}

/// The image with a flaw of quality; unchanged for contradictions.
fn degrade(image: &Image, flaw: Flaw, random: &mut Random) -> Image {
    let mut levels = image.levels();
    match flaw {
        Flaw::Blurred => {
            let sigma = random.between(1.8, 3.0);
            let blurred: [_; 3] =
                std::array::from_fn(|index| Grid::WORLD.blur(&channel(&levels, index), sigma));
            levels = (0..levels.len()).map(|pixel| blurred.each_ref().map(|field| field[pixel])).collect();
        }
        Flaw::Noisy => {
            let deviation = random.between(25.0, 45.0);
            levels.as_flattened_mut().iter_mut().for_each(|level| *level += deviation * random.normal());
        }
        Flaw::Faded => {
            let share = random.between(0.5, 0.7);
            for level in &mut levels {
                let gray = 0.4 * brightness(*level) + 0.6 * 165.0;
                *level = mix(*level, [gray; 3], share);
            }
        }
        Flaw::Blocky => {
            let side = random.pick(&[4, 5, 6, 8]);
            let middle = |position: usize| (position / side * side + side / 2).min(SIDE - 1);
            let at = |pixel: usize| levels[middle(pixel / SIDE) * SIDE + middle(pixel % SIDE)];
            levels = (0..levels.len()).map(at).collect();
        }
        _ => return image.clone(),
    }
    Image::from_levels(&levels)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::judge::judge;

    #[test]
    fn flaws_and_label_noise_have_their_stated_frequencies() {
        let pairs: Vec<QualityPair> = (0..2000).map(quality_pair).collect();
        let share = |count: usize| count as f32 / pairs.len() as f32;
        assert!((share(pairs.iter().filter(|pair| pair.swapped).count()) - LABEL_NOISE).abs() < 0.015);
        assert!((share(pairs.iter().filter(|pair| pair.flaw.contradicts()).count()) - 0.5).abs() < 0.04);
        let mut counts = HashMap::<Flaw, usize>::new();
        pairs.iter().for_each(|pair| *counts.entry(pair.flaw).or_default() += 1);
        assert!(Flaw::ALL.iter().all(|flaw| counts.get(flaw).is_some_and(|&count| count > 40)), "{counts:?}");
        assert_eq!(pairs[7], quality_pair(7));
    }

    #[test]
    fn losers_have_the_named_contradiction_and_winners_match_the_caption() {
        let mut wrong = 0;
        for seed in 0..600 {
            let scene = scene(seed, Split::Train, Kind::Mixed);
            let (object, pair) = (&scene.objects[0], quality_pair(seed));
            if pair.swapped || scene.objects.len() > 1 {
                continue;
            }
            let (winner, loser) = (judge(&pair.winner), judge(&pair.loser));
            assert_eq!((winner.shape, winner.colour), (Some(object.shape), Some(object.colour)));
            wrong += usize::from(pair.flaw.contradicts());
            match pair.flaw {
                Flaw::WrongShape => assert_ne!(loser.shape, winner.shape),
                Flaw::WrongColour => assert_ne!(loser.colour, winner.colour),
                Flaw::WrongBackground => assert_ne!(loser.background, winner.background),
                Flaw::WrongSize => assert_ne!(loser.size, winner.size),
                _ => {}
            }
        }
        assert!(wrong > 100);
    }
}
