//! Matchmaking: which two images a rater judges next. Pure functions; random draws are arguments.
//!
//! Two models are drawn first, those with the fewest votes against each other, and then a pair of their images. Two
//! images are comparable if only the models differ: prompt, seed and all other parameters are equal. Images of one
//! model are variants if only the seeds differ; a rater sees them if the draw is restricted to that model.

use crate::id::{ImageId, ModelId};
use crate::image::Image;
use crate::problem::Problems;
use crate::ranking::Tally;
use std::collections::{BTreeMap, HashMap, HashSet};

/// An evaluation image of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Key of its generation parameters; comparable images have equal keys.
    pub params: String,
    /// Id of the image.
    pub image: ImageId,
}

/// An evaluation image of one model, to be compared with the model's other images of the same prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Key of its generation parameters besides the seed; variants have equal keys.
    pub settings: String,
    /// The seed.
    pub seed: u64,
    /// Id of the image.
    pub image: ImageId,
}

/// The largest number of later variants that an image is compared with, so that the number of pairs is linear in the
/// number of images, however many a prompt has.
const LATER_VARIANTS: usize = 16;

/// Every pair of images of one model that differ in the seed only. An image with the seed of an earlier one is left
/// out: it is the same image.
#[must_use]
pub fn variant_pairs(variants: &[Variant]) -> Vec<(ImageId, ImageId)> {
    let mut by_settings: BTreeMap<&str, BTreeMap<u64, ImageId>> = BTreeMap::new();
    for variant in variants {
        by_settings.entry(&variant.settings).or_default().entry(variant.seed).or_insert(variant.image);
    }
    let mut pairs = Vec::new();
    for of_settings in by_settings.into_values() {
        let images: Vec<ImageId> = of_settings.into_values().collect();
        for (index, &first) in images.iter().enumerate() {
            pairs.extend(images[index + 1..].iter().take(LATER_VARIANTS).map(|&second| (first, second)));
        }
    }
    pairs
}

/// Every pair of comparable images of two models, the first model's image first.
#[must_use]
pub fn comparable_pairs(of_a: &[Candidate], of_b: &[Candidate]) -> Vec<(ImageId, ImageId)> {
    let mut by_params: HashMap<&str, Vec<ImageId>> = HashMap::new();
    for b in of_b {
        by_params.entry(&b.params).or_default().push(b.image);
    }
    of_a.iter()
        .flat_map(|a| by_params.get(a.params.as_str()).into_iter().flatten().map(|&b| (a.image, b)))
        .collect()
}

/// The images of a new matchup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// The image on the left.
    pub left: ImageId,
    /// The image on the right.
    pub right: ImageId,
}

/// Orders pairs of models by their votes, fewest first, and randomly among pairs with equally many. Leaves out pairs
/// with a model that is not in `only`, unless `only` is empty.
///
/// Each pair must be in the order of its tally. `shuffle` must bring its argument into a uniformly random order.
#[must_use]
pub fn order_pairs(
    mut pairs: Vec<(ModelId, ModelId)>,
    only: &[ModelId],
    tallies: &[Tally],
    shuffle: impl FnOnce(&mut [(ModelId, ModelId)]),
) -> Vec<(ModelId, ModelId)> {
    let is_wanted = |model: &ModelId| only.is_empty() || only.contains(model);
    pairs.retain(|(a, b)| is_wanted(a) && is_wanted(b));
    let votes: HashMap<_, _> = tallies.iter().map(|tally| ((tally.a, tally.b), tally.votes())).collect();
    shuffle(&mut pairs);
    // A stable sort: pairs with equally many votes stay in random order.
    pairs.sort_by_key(|&(a, b)| votes.get(&(a.into(), b.into())).copied().unwrap_or(0));
    pairs
}

/// Which pairs of models are tried first for a new matchup.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum DrawOrder {
    /// Those with the fewest votes, see [`order_pairs`].
    #[default]
    FewestVotes,
    /// Those whose votes tell most, but a share of the draws is even.
    Informative {
        /// Pairs in the order of what a vote tells, the most first. A pair that is not listed has a model without votes.
        ranked: Vec<(ModelId, ModelId)>,
        /// The share of even draws.
        even_share: f64,
        /// Whether this draw is even.
        is_even: bool,
    },
}

/// How a matchup's models were drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Whether the draw was even, so that the votes of even draws alone are a sample of all pairs.
    pub is_even: bool,
    /// The probability of this pair of models at that moment, if all pairs have images left for the rater.
    pub propensity: f64,
}

/// As [`order_pairs`], in another order. In an informative order, pairs with a model without votes come first.
#[must_use]
pub fn order_pairs_by(
    order: &DrawOrder,
    mut pairs: Vec<(ModelId, ModelId)>,
    only: &[ModelId],
    tallies: &[Tally],
    shuffle: impl FnOnce(&mut [(ModelId, ModelId)]),
) -> Vec<(ModelId, ModelId)> {
    let DrawOrder::Informative { ranked, is_even, .. } = order else {
        return order_pairs(pairs, only, tallies, shuffle);
    };
    let is_wanted = |model: &ModelId| only.is_empty() || only.contains(model);
    pairs.retain(|(a, b)| is_wanted(a) && is_wanted(b));
    shuffle(&mut pairs);
    if !is_even {
        let places: HashMap<_, _> = ranked.iter().enumerate().map(|(place, pair)| (*pair, place)).collect();
        pairs.sort_by_key(|&(a, b)| places.get(&(a, b)).or_else(|| places.get(&(b, a))).copied());
    }
    pairs
}

impl DrawOrder {
    /// How `drawn` was drawn from these wanted pairs; none where the order is by votes.
    #[must_use]
    pub fn draw(&self, wanted: &[(ModelId, ModelId)], drawn: (ModelId, ModelId)) -> Option<Draw> {
        let Self::Informative { ranked, even_share, is_even } = self else { return None };
        let same = |x: (ModelId, ModelId), y: (ModelId, ModelId)| x == y || x == (y.1, y.0);
        let is_listed = |pair: (ModelId, ModelId)| ranked.iter().any(|&known| same(known, pair));
        let unlisted: Vec<_> = wanted.iter().filter(|&&pair| !is_listed(pair)).collect();
        let first = match unlisted[..] {
            [] => {
                let best = ranked.iter().find(|&&known| wanted.iter().any(|&pair| same(known, pair)));
                f64::from(u8::from(best.is_some_and(|&best| same(best, drawn))))
            }
            _ if unlisted.iter().any(|&&pair| same(pair, drawn)) => 1.0 / unlisted.len() as f64,
            _ => 0.0,
        };
        let propensity = (1.0 - even_share) * first + even_share / wanted.len().max(1) as f64;
        Some(Draw { is_even: *is_even, propensity })
    }
}

/// Draws one of these pairs of images, and its sides. None if `judged` holds all of them.
///
/// `judged`: the pairs of images that the rater has already judged, left and right. `draw(n)` must return a uniformly
/// random number below n.
#[must_use]
pub fn draw_sides(
    pairs: Vec<(ImageId, ImageId)>,
    judged: &HashSet<(ImageId, ImageId)>,
    mut draw: impl FnMut(usize) -> usize,
) -> Option<Sides> {
    let open: Vec<(ImageId, ImageId)> =
        pairs.into_iter().filter(|&(a, b)| !judged.contains(&(a, b)) && !judged.contains(&(b, a))).collect();
    if open.is_empty() {
        return None;
    }
    let (a, b) = open[draw(open.len())];
    Some(if draw(2) == 1 { Sides { left: a, right: b } } else { Sides { left: b, right: a } })
}

/// The prompt of two images that a user wants to compare.
///
/// # Errors
/// Names `image_a` or `image_b` if an image does not exist, was not made by a model, is the other image, or has another
/// prompt.
pub fn shared_prompt(a: Option<&Image>, b: Option<&Image>) -> Result<String, Problems> {
    let mut problems = Problems::default();
    for (field, image) in [("image_a", a), ("image_b", b)] {
        problems.require(image.is_some(), field, "there is no image of this id");
    }
    let (Some(a), Some(b)) = (a, b) else { return Err(problems) };
    for (field, image) in [("image_a", a), ("image_b", b)] {
        problems.require(
            image.model_id.is_some(),
            field,
            "is a sample of a run: use a generated or evaluation image",
        );
    }
    problems.require(a.id != b.id, "image_b", "is the same image as image_a: use another one");
    problems.require(
        a.params.prompt == b.params.prompt,
        "image_b",
        "has another prompt than image_a: use one of the same prompt",
    );
    problems.into_result()?;
    Ok(a.params.prompt.clone())
}

#[cfg(test)]
mod tests {
    use super::{
        Candidate, DrawOrder, LATER_VARIANTS, Sides, Variant, comparable_pairs, draw_sides, order_pairs,
        order_pairs_by, shared_prompt, variant_pairs,
    };
    use crate::Timestamp;
    use crate::id::{ImageId, ModelId};
    use crate::image::{GenerationParams, Image, Purpose, Sampler};
    use crate::ranking::Tally;
    use std::collections::HashSet;
    use uuid::Uuid;

    fn model(n: u128) -> ModelId {
        ModelId(Uuid::from_u128(n))
    }

    fn image(n: u128) -> ImageId {
        ImageId(Uuid::from_u128(n))
    }

    fn pair(a: u128, b: u128) -> (ModelId, ModelId) {
        (model(a), model(b))
    }

    fn candidates(images: &[(&str, u128)]) -> Vec<Candidate> {
        images.iter().map(|&(params, n)| Candidate { params: params.to_owned(), image: image(n) }).collect()
    }

    #[test]
    fn pairs_with_the_fewest_votes_come_first_and_equal_ones_in_shuffled_order() {
        let tally = |a, b, wins_a, wins_b, ties| {
            let (a, b) = (model(a).into(), model(b).into());
            Tally { a, b, wins_a, wins_b, ties }
        };
        let tallies = [tally(1, 2, 1, 1, 1), tally(1, 3, 0, 2, 0), tally(2, 3, 0, 0, 2)];
        let pairs = vec![pair(1, 2), pair(1, 3), pair(1, 4), pair(2, 3), pair(2, 4)];
        let ordered = order_pairs(pairs, &[], &tallies, <[_]>::reverse);
        // No votes: (2, 4) and (1, 4). Two votes: (2, 3) and (1, 3). Three votes: (1, 2).
        assert_eq!(ordered, [pair(2, 4), pair(1, 4), pair(2, 3), pair(1, 3), pair(1, 2)]);
    }

    #[test]
    fn pairs_are_restricted_to_the_wanted_models() {
        let pairs = vec![pair(1, 2), pair(1, 3), pair(2, 3)];
        let wanted = order_pairs(pairs.clone(), &[model(1), model(3)], &[], |_| {});
        assert_eq!(wanted, [pair(1, 3)]);
        assert_eq!(order_pairs(pairs.clone(), &[model(1)], &[], |_| {}), []);
        assert_eq!(order_pairs(pairs.clone(), &[], &[], |_| {}), pairs);
    }

    #[test]
    fn informative_pairs_come_first_after_models_without_votes_and_even_draws_ignore_the_order() {
        let pairs = vec![pair(1, 2), pair(1, 3), pair(2, 3), pair(3, 4)];
        let order = |is_even| DrawOrder::Informative {
            ranked: vec![pair(2, 3), pair(1, 3), pair(2, 1)],
            even_share: 0.2,
            is_even,
        };
        let ordered = |order: &DrawOrder| order_pairs_by(order, pairs.clone(), &[], &[], <[_]>::reverse);
        assert_eq!(ordered(&order(false)), [pair(3, 4), pair(2, 3), pair(1, 3), pair(1, 2)]);
        let shuffled = order_pairs_by(&order(true), pairs.clone(), &[], &[], |pairs| pairs.swap(0, 1));
        assert_eq!(shuffled, [pair(1, 3), pair(1, 2), pair(2, 3), pair(3, 4)]);
        let three = [model(1), model(2), model(3)];
        let wanted = order_pairs_by(&order(false), pairs.clone(), &three, &[], |_| {});
        assert_eq!(wanted, [pair(2, 3), pair(1, 3), pair(1, 2)]);
        let propensity = |wanted: &[_], drawn| order(false).draw(wanted, drawn).expect("a draw").propensity;
        // One of three pairs is the most informative, and each has a third of the even draws.
        assert!((propensity(&wanted, pair(2, 3)) - (0.8 + 0.2 / 3.0)).abs() < 1e-12);
        assert!((propensity(&wanted, pair(1, 2)) - 0.2 / 3.0).abs() < 1e-12);
        // A pair with a model without votes comes before them.
        assert!((propensity(&pairs, pair(3, 4)) - 0.85).abs() < 1e-12);
        assert!((propensity(&pairs, pair(2, 3)) - 0.05).abs() < 1e-12);
        assert_eq!(DrawOrder::FewestVotes.draw(&pairs, pair(2, 3)), None);
    }

    #[test]
    fn only_images_of_equal_parameters_are_drawn_and_the_draws_decide_pair_and_side() {
        let of_a = candidates(&[("p", 1), ("q", 2), ("only a", 3)]);
        let of_b = candidates(&[("q", 12), ("q", 13), ("p", 11), ("only b", 14)]);
        let drawn = |choice: usize, side: usize| {
            let mut draws = [(3, choice), (2, side)].into_iter();
            let drawn = draw_sides(comparable_pairs(&of_a, &of_b), &HashSet::new(), |below| {
                let (expected, draw) = draws.next().expect("two draws");
                assert_eq!(below, expected);
                draw
            });
            drawn.expect("something to judge")
        };
        assert_eq!(drawn(0, 1), Sides { left: image(1), right: image(11) });
        assert_eq!(drawn(0, 0), Sides { left: image(11), right: image(1) });
        assert_eq!(drawn(1, 1), Sides { left: image(2), right: image(12) });
        assert_eq!(drawn(2, 0), Sides { left: image(13), right: image(2) });
    }

    #[test]
    fn a_pair_that_was_judged_is_not_drawn_again_whatever_its_sides_were() {
        let (of_a, of_b) = (candidates(&[("p", 1), ("q", 2)]), candidates(&[("p", 11), ("q", 12)]));
        let pairs = comparable_pairs(&of_a, &of_b);
        let mut judged = HashSet::from([(image(1), image(11))]);
        let drawn = draw_sides(pairs.clone(), &judged, |n| n - 1);
        assert_eq!(drawn, Some(Sides { left: image(2), right: image(12) }));
        judged.insert((image(12), image(2)));
        assert_eq!(draw_sides(pairs, &judged, |n| n - 1), None);
        assert_eq!(draw_sides(comparable_pairs(&of_a, &[]), &HashSet::new(), |n| n - 1), None);
    }

    #[test]
    fn variants_of_one_model_share_everything_but_the_seed() {
        let variant =
            |settings: &str, seed, n| Variant { settings: settings.to_owned(), seed, image: image(n) };
        let variants = [
            variant("p", 1, 1),
            variant("q", 1, 2),
            variant("p", 2, 3),
            // The image of an earlier seed again.
            variant("p", 1, 4),
            variant("p", 3, 5),
        ];
        let expected = [(1, 3), (1, 5), (3, 5)].map(|(a, b)| (image(a), image(b)));
        assert_eq!(variant_pairs(&variants), expected);
        let many: Vec<Variant> = (0..100).map(|n| variant("p", n, u128::from(n))).collect();
        let pairs = variant_pairs(&many);
        assert!(pairs.len() > 84 * LATER_VARIANTS && pairs.len() < 100 * LATER_VARIANTS, "{}", pairs.len());
    }

    #[test]
    fn two_images_of_one_prompt_share_it() {
        let of = |id, model_id, prompt: &str| Image {
            id: image(id),
            model_id,
            run_id: None,
            step: None,
            purpose: Purpose::Evaluation,
            params: GenerationParams {
                prompt: prompt.to_owned(),
                negative_prompt: String::new(),
                seed: 0,
                steps: 20,
                guidance_scale: 7.5,
                width: 64,
                height: 64,
                sampler: Sampler::Ddim,
                lora: Vec::new(),
            },
            artifact: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
        };
        let (a, b) = (of(1, Some(model(1)), "p"), of(2, Some(model(2)), "p"));
        assert_eq!(shared_prompt(Some(&a), Some(&b)), Ok("p".to_owned()));
        // Two images by one model, which differ in the seed.
        assert_eq!(shared_prompt(Some(&a), Some(&of(3, Some(model(1)), "p"))), Ok("p".to_owned()));
        let fields = |a: Option<&Image>, b: Option<&Image>| {
            let problems = shared_prompt(a, b).expect_err("not comparable");
            problems.0.into_iter().map(|problem| problem.field).collect::<Vec<_>>()
        };
        assert_eq!(fields(None, None), ["image_a", "image_b"]);
        assert_eq!(fields(Some(&a), Some(&a)), ["image_b"]);
        assert_eq!(fields(Some(&a), Some(&of(2, Some(model(2)), "q"))), ["image_b"]);
        assert_eq!(fields(Some(&of(3, None, "p")), Some(&b)), ["image_a"]);
        assert_eq!(
            fields(Some(&of(3, None, "p")), Some(&of(4, None, "q"))),
            ["image_a", "image_b", "image_b"]
        );
    }
}
