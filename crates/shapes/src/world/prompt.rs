//! Prompts for combinations held out of training, with the attributes that a correct image shows.

use super::caption::with_article;
use super::name::{Background, Colour, Relation, Shape, Size};
use super::scene::draw_looks;
use super::split::{Split, allowed, held_out};
use crate::random::Random;

/// Seed of the choice among held-out prompts in evaluations. It is fixed, so that all evaluations use the same ones.
pub const EVALUATION_SEED: u64 = 777;

/// A prompt for one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOutPrompt {
    /// The text of the prompt.
    pub caption: String,
    /// Shape of the object.
    pub shape: Shape,
    /// Colour of the object.
    pub colour: Colour,
    /// Size of the object.
    pub size: Size,
    /// Colour of the background.
    pub background: Background,
}

/// A prompt for two objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairPrompt {
    /// The text of the prompt.
    pub caption: String,
    /// Shape and colour of the object named first.
    pub first: (Shape, Colour),
    /// Position of the first object relative to the second.
    pub relation: Relation,
    /// Shape and colour of the object named second.
    pub second: (Shape, Colour),
    /// Colour of the background.
    pub background: Background,
}

/// Prompts for single objects in held-out combinations. Every combination occurs once before any occurs twice.
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
    let random = &mut Random::new("held-out prompts", seed);
    let mut prompts = Vec::with_capacity(count);
    while prompts.len() < count {
        random.shuffle(&mut combinations);
        for &(shape, colour, background) in combinations.iter().take(count - prompts.len()) {
            let size = random.pick(Size::ALL);
            let object = with_article(&format!("{size} {colour} {shape}"));
            let caption = format!("{object} on {} background", with_article(background.name()));
            prompts.push(HeldOutPrompt { caption, shape, colour, size, background });
        }
    }
    prompts
}

/// Prompts for two objects, of which the first is a held-out combination with the background.
#[must_use]
pub fn pair_prompts(count: usize, seed: u64) -> Vec<PairPrompt> {
    let random = &mut Random::new("pair prompts", seed);
    let prompt = |_| {
        let (background, looks) = draw_looks(random, Split::HeldOut, 2);
        let (first, relation, second) = (looks[0], random.pick(Relation::ALL), looks[1]);
        let say = |(shape, colour): (Shape, Colour)| with_article(&format!("{colour} {shape}"));
        let ground = with_article(background.name());
        let caption = format!("{} {relation} {} on {ground} background", say(first), say(second));
        PairPrompt { caption, first, relation, second, background }
    };
    (0..count).map(prompt).collect()
}
