//! The quality set: two images for one caption. The winner is clean and true to it; the loser is another image of the same
//! caption with one flaw. As with human labels, some pairs are labelled the wrong way round.

use crate::dice::Dice;
use crate::field::{blur, brightness, channel, mix};
use crate::image::{Image, SIDE};
use crate::world::{
    Background, Colour, Content, Kind, Relation, Scene, Shape, Size, Split, allowed, held_out, scene,
};

/// Share of pairs whose winner and loser are swapped.
pub const LABEL_NOISE: f32 = 0.05;

/// What is wrong with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Out of focus.
    Blurred,
    /// Grainy.
    Noisy,
    /// Colours and contrast washed out.
    Faded,
    /// Large square pixels.
    Blocky,
    /// An object of another shape than the caption says.
    WrongShape,
    /// An object of another colour than the caption says.
    WrongColour,
    /// Another background than the caption says.
    WrongBackground,
    /// Another size than the caption says.
    WrongSize,
    /// Another relation than the caption says.
    WrongRelation,
}

impl Flaw {
    /// All of them.
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

    /// Whether the image contradicts its caption, rather than being of poor quality.
    #[must_use]
    pub fn contradicts(self) -> bool {
        !matches!(self, Self::Blurred | Self::Noisy | Self::Faded | Self::Blocky)
    }
}

/// A preference pair of the quality set.
#[derive(Clone, Debug, PartialEq)]
pub struct QualityPair {
    /// Of both images.
    pub caption: String,
    /// The preferred image.
    pub winner: Image,
    /// The other.
    pub loser: Image,
    /// Of the loser; of the winner where the label is wrong.
    pub flaw: Flaw,
    /// Whether label noise has swapped the two.
    pub swapped: bool,
}

/// The pair of a seed. Half the flaws are of quality, half contradict the caption. No image shows a held-out combination.
#[must_use]
pub fn quality_pair(seed: u64) -> QualityPair {
    let dice = &mut Dice::new("quality pair", seed);
    let scene = scene(seed, Split::Train, Kind::Mixed);
    let caption = scene.caption();
    let contradiction = dice.chance(0.5);
    let mut flaws: Vec<Flaw> = Flaw::ALL
        .iter()
        .copied()
        .filter(|flaw| flaw.contradicts() == contradiction && can_be_told(*flaw, &scene, &caption))
        .collect();
    dice.shuffle(&mut flaws);
    let content = content(&scene);
    let flawed = flaws.into_iter().find_map(|flaw| Some((flaw, flawed_content(&content, flaw, dice)?)));
    let (flaw, content) = flawed.unwrap_or((Flaw::Blurred, content));
    let flawed = degrade(&content.compose(dice).paint(), flaw, dice);
    let swapped = dice.chance(LABEL_NOISE);
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

/// An image can only contradict what its caption says. No object has the colour of its background, so that the name of the
/// background in a caption is the background's.
fn can_be_told(flaw: Flaw, scene: &Scene, caption: &str) -> bool {
    match flaw {
        Flaw::WrongBackground => caption.contains(scene.background.name()),
        Flaw::WrongSize => scene.objects[0].size.is_some_and(|size| caption.contains(size.name())),
        Flaw::WrongRelation => scene.relation.is_some(),
        _ => true,
    }
}

/// The content, changed so that the caption is wrong about it, where the flaw asks for that. `None` where training would show a held-out
/// combination or the caption would still be true.
fn flawed_content(content: &Content, flaw: Flaw, dice: &mut Dice) -> Option<Content> {
    let mut content = content.clone();
    let looks = content.looks.clone();
    let changed = dice.below(looks.len());
    let (shape, colour) = looks[changed];
    let fits = |looks: (Shape, Colour), background: Background| {
        allowed(looks.1, background) && !held_out(looks.0, looks.1, background)
    };
    match flaw {
        Flaw::WrongShape => {
            let wrong = |&other: &Shape| {
                !looks.contains(&(other, colour)) && fits((other, colour), content.background)
            };
            content.looks[changed].0 = choose(dice, Shape::ALL, wrong)?;
        }
        Flaw::WrongColour => {
            let wrong = |&other: &Colour| {
                !looks.contains(&(shape, other)) && fits((shape, other), content.background)
            };
            content.looks[changed].1 = choose(dice, Colour::ALL, wrong)?;
        }
        Flaw::WrongBackground => {
            let wrong = |&other: &Background| {
                other != content.background && looks.iter().all(|&looks| fits(looks, other))
            };
            content.background = choose(dice, Background::ALL, wrong)?;
        }
        Flaw::WrongSize => {
            content.size = Some(choose(dice, Size::ALL, |&other| Some(other) != content.size)?);
        }
        Flaw::WrongRelation => {
            content.relation = Some(choose(dice, Relation::ALL, |&other| Some(other) != content.relation)?);
        }
        Flaw::Blurred | Flaw::Noisy | Flaw::Faded | Flaw::Blocky => {}
    }
    Some(content)
}

fn choose<T: Copy>(dice: &mut Dice, all: &[T], wanted: impl Fn(&T) -> bool) -> Option<T> {
    let wanted: Vec<T> = all.iter().copied().filter(wanted).collect();
    (!wanted.is_empty()).then(|| dice.pick(&wanted))
}

/// The image in poor quality; unchanged where the flaw is not of quality.
fn degrade(image: &Image, flaw: Flaw, dice: &mut Dice) -> Image {
    let mut levels = image.levels();
    match flaw {
        Flaw::Blurred => {
            let sigma = dice.between(1.8, 3.0);
            let blurred: [_; 3] = std::array::from_fn(|index| blur(&channel(&levels, index), sigma));
            levels = (0..levels.len()).map(|pixel| blurred.each_ref().map(|field| field[pixel])).collect();
        }
        Flaw::Noisy => {
            let deviation = dice.between(25.0, 45.0);
            levels.as_flattened_mut().iter_mut().for_each(|level| *level += deviation * dice.normal());
        }
        Flaw::Faded => {
            let share = dice.between(0.5, 0.7);
            for level in &mut levels {
                let gray = 0.4 * brightness(*level) + 0.6 * 165.0;
                *level = mix(*level, [gray; 3], share);
            }
        }
        Flaw::Blocky => {
            let side = dice.pick(&[4, 5, 6, 8]);
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
    fn flaws_and_label_noise_come_as_often_as_stated() {
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
    fn losers_contradict_in_the_named_way_and_winners_are_true() {
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
