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

/// All prompts that state size, colour and shape of one object and the background, in combinations of the training split, in a
/// fixed random order.
#[must_use]
pub fn training_prompts() -> Vec<String> {
    let mut prompts = Vec::new();
    for &shape in Shape::ALL {
        for &colour in Colour::ALL {
            for &background in Background::ALL {
                if allowed(colour, background) && !held_out(shape, colour, background) {
                    let ground = with_article(background.name());
                    prompts.extend(Size::ALL.iter().map(|size| {
                        let object = with_article(&format!("{size} {colour} {shape}"));
                        format!("{object} on {ground} background")
                    }));
                }
            }
        }
    }
    Random::new("training prompts", 0).shuffle(&mut prompts);
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

#[cfg(test)]
mod tests {
    use super::{held_out_prompts, training_prompts};
    use crate::world::{Statement, held_out};
    use std::collections::BTreeSet;

    #[test]
    fn training_prompts_are_complete_different_and_not_held_out() {
        let prompts = training_prompts();
        assert_eq!(prompts.len(), 1167);
        let different: BTreeSet<&String> = prompts.iter().collect();
        assert_eq!(different.len(), prompts.len());
        for prompt in &prompts {
            let stated = Statement::parse(prompt).expect("a caption");
            let (shape, colour) = stated.objects[0];
            let background = stated.background.expect("a background");
            assert!(stated.size.is_some() && !held_out(shape, colour, background), "{prompt}");
        }
        assert!(held_out_prompts(100, 1).iter().all(|held| !different.contains(&held.caption)));
    }
}
