//! How many answers it takes to name the best of eight models.

use crate::chance::Chance;
use crate::population::{MODELS, Rater, prompt};
use judging::{
    Answer, Answers, Fit, Goal, Item, Reliability, Weighting, choose, fit, fit_from, open_contrasts,
};

const ANSWERS_EACH: usize = 25;
/// Places of the gold pairs among a rater's answers, which count as answers: where raters count by reliability only.
const GOLD: [usize; 3] = [2, 5, 8];
/// Raters who work at the same time; one who is done, or found careless, is followed by another.
const AT_WORK: usize = 8;
const PROMPTS: usize = 200;
const TRUTH: [f64; MODELS] = [0.8, 0.25, 0.15, 0.0, -0.1, -0.25, -0.35, -0.45];
/// Answers between two looks: at least this many, and a tenth of those before.
const STRIDE: usize = 10;
/// A campaign that has not ended by then counts with this many answers.
const MOST: usize = 12_000;
const RANDOM_SHARE: f64 = 0.1;

/// A way to run a campaign.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    weighting: Weighting,
    is_active: bool,
    shown: usize,
}

const WAYS: [Way; 4] = [
    Way {
        name: "pairs at random, every rater alike",
        weighting: Weighting::Plain,
        is_active: false,
        shown: 2,
    },
    Way {
        name: "pairs at random, by reliability",
        weighting: Weighting::ByReliability,
        is_active: false,
        shown: 2,
    },
    Way {
        name: "chosen pairs, by reliability",
        weighting: Weighting::ByReliability,
        is_active: true,
        shown: 2,
    },
    Way {
        name: "chosen fours, by reliability",
        weighting: Weighting::ByReliability,
        is_active: true,
        shown: 4,
    },
];

/// Answers of each simulation, and in how many the best model was named, for one way.
#[derive(Default)]
struct Ended {
    answers: Vec<usize>,
    right: usize,
    undecided: usize,
}

pub(crate) fn run(simulations: u64, seed: u64) {
    println!(
        "answers until the best of {MODELS} models is named at 95% confidence, looked at after every tenth more"
    );
    println!("{:<36} {:>8} {:>8} {:>8} {:>8}", "", "mean", "median", "of first", "right");
    let mut first = None;
    for way in WAYS {
        let mut ended = Ended::default();
        for simulation in 0..simulations {
            campaign(way, &mut Chance::new(seed, simulation), &mut ended);
        }
        ended.answers.sort_unstable();
        let mean = ended.answers.iter().sum::<usize>() as f64 / simulations.max(1) as f64;
        let median = ended.answers.get(ended.answers.len() / 2).copied().unwrap_or_default();
        let of_first = 100.0 * mean / *first.get_or_insert(mean);
        let right = 100.0 * ended.right as f64 / simulations.max(1) as f64;
        println!(
            "{:<36} {mean:>8.0} {median:>8} {of_first:>7.1}% {right:>7.1}%  ({} undecided)",
            way.name, ended.undecided
        );
    }
}

fn campaign(way: Way, chance: &mut Chance, ended: &mut Ended) {
    let prompts: Vec<[f64; MODELS]> = (0..PROMPTS).map(|_| prompt(chance)).collect();
    let mut raters: Vec<Rater> = (0..AT_WORK).map(|_| Rater::new(chance)).collect();
    let mut at_work: Vec<usize> = (0..AT_WORK).collect();
    let items = items(way.shown);
    let mut answers = Answers::new(MODELS);
    let mut fitted: Option<Fit> = None;
    let mut next_look = STRIDE;
    let mut given = 0;
    let mut shown_to: Vec<usize> = Vec::new();
    while given < MOST {
        given += 1;
        let turn = chance.below(AT_WORK);
        let rater = at_work[turn];
        if way.weighting == Weighting::ByReliability && GOLD.contains(&items_of(&mut shown_to, rater)) {
            answers.push_gold(rater, raters[rater].passes_gold(chance));
            continue;
        }
        let item = match &fitted {
            Some(fitted) if way.is_active => {
                let draw = || chance.uniform();
                choose(fitted, &items, Goal::Best, RANDOM_SHARE, draw).map_or(0, |chosen| chosen.item)
            }
            _ => chance.below(items.len()),
        };
        let mut shown = items[item].models.clone();
        chance.shuffle(&mut shown);
        let prompt = chance.below(PROMPTS);
        let done = answers.of_rater(rater) as f64 / ANSWERS_EACH as f64;
        let said = raters[rater].says(&shown, &TRUTH, &prompts[prompt], done, chance);
        answers.push(&Answer { rater, prompt, shown, said }).expect("different models");
        if answers.of_rater(rater) == ANSWERS_EACH {
            at_work[turn] = raters.len();
            raters.push(Rater::new(chance));
        }
        if given >= next_look {
            next_look = given + STRIDE.max(given / 10);
            let now = match &fitted {
                None => fit(&answers, way.weighting),
                Some(before) => fit_from(&answers, way.weighting, before),
            };
            if open_contrasts(&now, Goal::Best).is_empty() {
                ended.right += usize::from(now.order()[0] == 0);
                ended.answers.push(given);
                return;
            }
            for place in &mut at_work {
                if now.raters().get(*place).is_some_and(Reliability::is_careless) {
                    *place = raters.len();
                    raters.push(Rater::new(chance));
                }
            }
            fitted = Some(now);
        }
    }
    ended.undecided += 1;
    ended.answers.push(MOST);
}

/// The number of items that a rater has been shown, with the next.
fn items_of(shown_to: &mut Vec<usize>, rater: usize) -> usize {
    if shown_to.len() <= rater {
        shown_to.resize(rater + 1, 0);
    }
    shown_to[rater] += 1;
    shown_to[rater]
}

/// Every choice of `shown` models.
fn items(shown: usize) -> Vec<Item> {
    let sets = 0_u32..1 << MODELS;
    let models = |set: u32| (0..MODELS).filter(|model| set >> model & 1 == 1).collect();
    let sets = sets.filter(|set| set.count_ones() as usize == shown);
    sets.map(|set| Item { models: models(set), seconds: 1.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Chance, Ended, MODELS, WAYS, campaign, items};

    #[test]
    fn items_are_all_choices_of_models() {
        assert_eq!((items(2).len(), items(4).len()), (28, 70));
        assert!(
            items(4).iter().all(|item| item.models.len() == 4 && item.models.iter().all(|&m| m < MODELS))
        );
    }

    #[test]
    fn chosen_fours_name_the_best_model_in_fewer_answers_than_pairs_at_random() {
        let answers = WAYS.map(|way| {
            let mut ended = Ended::default();
            (0..3).for_each(|simulation| campaign(way, &mut Chance::new(5, simulation), &mut ended));
            assert_eq!((ended.answers.len(), ended.right, ended.undecided), (3, 3, 0), "{}", way.name);
            ended.answers.iter().sum::<usize>()
        });
        assert!(2 * answers[3] < answers[0], "{answers:?}");
    }
}
