//! Prompts over what training never showed, with what a right answer holds.

use super::caption::with_article;
use super::name::{Background, Colour, Relation, Shape, Size};
use super::scene::company;
use super::split::{Split, allowed, held_out};
use crate::dice::Dice;

/// A prompt for one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOutPrompt {
    /// The prompt.
    pub caption: String,
    /// Of the object asked for.
    pub shape: Shape,
    /// Of the object asked for.
    pub colour: Colour,
    /// Of the object asked for.
    pub size: Size,
    /// Behind it.
    pub background: Background,
}

/// A prompt for two objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairPrompt {
    /// The prompt.
    pub caption: String,
    /// Shape and colour of the object named first.
    pub first: (Shape, Colour),
    /// Where the first lies, seen from the second.
    pub relation: Relation,
    /// Shape and colour of the object named second.
    pub second: (Shape, Colour),
    /// Behind both.
    pub background: Background,
}

/// Prompts for single objects in held-out combinations. Every combination comes once before any comes twice.
#[must_use]
pub fn held_out_prompts(count: usize, seed: u64) -> Vec<HeldOutPrompt> {
    let mut combinations = Vec::new();
    for &shape in Shape::ALL {
        for &colour in Colour::ALL {
            for &background in Background::ALL {
                if allowed(colour, background) && held_out(shape, colour, background) {
                    combinations.push((shape, colour, background));
                }
            }
        }
    }
    let dice = &mut Dice::new("held-out prompts", seed);
    let mut prompts = Vec::with_capacity(count);
    while prompts.len() < count {
        dice.shuffle(&mut combinations);
        for &(shape, colour, background) in combinations.iter().take(count - prompts.len()) {
            let size = dice.pick(Size::ALL);
            let object = with_article(&format!("{size} {colour} {shape}"));
            let caption = format!("{object} on {} background", with_article(background.name()));
            prompts.push(HeldOutPrompt { caption, shape, colour, size, background });
        }
    }
    prompts
}

/// Prompts for two objects, the first in a held-out combination with the background.
#[must_use]
pub fn pair_prompts(count: usize, seed: u64) -> Vec<PairPrompt> {
    let dice = &mut Dice::new("pair prompts", seed);
    let prompt = |_| {
        let (background, looks) = company(dice, Split::HeldOut, 2);
        let (first, relation, second) = (looks[0], dice.pick(Relation::ALL), looks[1]);
        let say = |(shape, colour): (Shape, Colour)| with_article(&format!("{colour} {shape}"));
        let ground = with_article(background.name());
        let caption = format!("{} {relation} {} on {ground} background", say(first), say(second));
        PairPrompt { caption, first, relation, second, background }
    };
    (0..count).map(prompt).collect()
}
