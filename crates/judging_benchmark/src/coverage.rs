//! Whether the intervals hold the truth as often as they say, and whether careless raters are found.

use crate::chance::Chance;
use crate::population::{MODELS, Rater, limit, prompt};
use judging::{Answer, Answers, CERTAIN, Fit, Weighting, fit, fit_from};

const RATERS: usize = 40;
const ANSWERS_EACH: usize = 25;
/// Gold pairs of each rater beside them.
const GOLD_EACH: usize = 3;
const PROMPTS: usize = 100;
const TRUTH: [f64; MODELS] = [0.7, 0.45, 0.2, 0.05, -0.1, -0.25, -0.4, -0.65];
/// Answers before the first look. A difference is looked at while it is not preliminary.
const FIRST_LOOK: usize = 50;

/// Probabilities above which a rater is called careless; the last is that of the leaderboard.
const CERTAINTIES: [f64; 4] = [0.5, 0.8, 0.9, CERTAIN];

/// Counts over all simulations, of differences of two models and of raters.
#[derive(Default)]
pub(crate) struct Coverage {
    differences: usize,
    /// Held by the interval of one look, at the end.
    held_at_end: usize,
    held_at_end_plain: usize,
    /// Held by the interval of one look at every look.
    held_always_by_one_look: usize,
    /// Held by the interval for any number of looks at every look.
    held_always: usize,
    careless: usize,
    attentive: usize,
    /// Careless and attentive raters that are called careless above each probability of [`CERTAINTIES`].
    found: [usize; CERTAINTIES.len()],
    blamed: [usize; CERTAINTIES.len()],
}

pub(crate) fn run(simulations: u64, seed: u64) -> Coverage {
    let truth = limit(&TRUTH);
    let mut coverage = Coverage::default();
    for simulation in 0..simulations {
        coverage.simulate(&truth, &mut Chance::new(seed, simulation));
    }
    coverage
}

impl Coverage {
    fn simulate(&mut self, truth: &[f64], chance: &mut Chance) {
        let raters: Vec<Rater> = (0..RATERS).map(|_| Rater::new(chance)).collect();
        let prompts: Vec<[f64; MODELS]> = (0..PROMPTS).map(|_| prompt(chance)).collect();
        let mut turns: Vec<usize> = (0..RATERS * ANSWERS_EACH).map(|turn| turn % RATERS).collect();
        chance.shuffle(&mut turns);
        let mut answers = Answers::new(MODELS);
        let mut fitted: Option<Fit> = None;
        let pairs: Vec<(usize, usize)> =
            (0..MODELS).flat_map(|a| (a + 1..MODELS).map(move |b| (a, b))).collect();
        let mut missed_by_one_look = vec![false; pairs.len()];
        let mut missed = vec![false; pairs.len()];
        for rater in turns {
            let prompt = chance.below(PROMPTS);
            let first = chance.below(MODELS);
            let second = (first + 1 + chance.below(MODELS - 1)) % MODELS;
            let shown = vec![first, second];
            let done = answers.of_rater(rater) as f64 / ANSWERS_EACH as f64;
            let said = raters[rater].says(&shown, &TRUTH, &prompts[prompt], done, chance);
            answers.push(&Answer { rater, prompt, shown, said }).expect("two models");
            if answers.of_rater(rater).is_multiple_of(ANSWERS_EACH / GOLD_EACH) {
                answers.push_gold(rater, raters[rater].passes_gold(chance));
            }
            if answers.len() < FIRST_LOOK {
                continue;
            }
            let now = match &fitted {
                None => fit(&answers, Weighting::ByReliability),
                Some(before) => fit_from(&answers, Weighting::ByReliability, before),
            };
            for (place, &(a, b)) in pairs.iter().enumerate() {
                let estimate = now.difference(a, b);
                let true_difference = truth[a] - truth[b];
                let misses = |low: f64, high: f64| true_difference < low || true_difference > high;
                let one_look = estimate.interval();
                if !estimate.is_preliminary() {
                    let anytime = estimate.anytime();
                    missed[place] |= misses(anytime.low, anytime.high);
                    missed_by_one_look[place] |= misses(one_look.low, one_look.high);
                }
            }
            fitted = Some(now);
        }
        self.count(truth, &pairs, &missed, &missed_by_one_look, &answers);
        self.count_raters(&raters, &fit(&answers, Weighting::ByReliability));
    }

    fn count(
        &mut self,
        truth: &[f64],
        pairs: &[(usize, usize)],
        missed: &[bool],
        missed_by_one_look: &[bool],
        answers: &Answers,
    ) {
        self.differences += pairs.len();
        self.held_always += missed.iter().filter(|missed| !**missed).count();
        self.held_always_by_one_look += missed_by_one_look.iter().filter(|missed| !**missed).count();
        let held = |weighting| {
            let end = fit(answers, weighting);
            let holds = |&&(a, b): &&(usize, usize)| {
                let interval = end.difference(a, b).interval();
                (interval.low..=interval.high).contains(&(truth[a] - truth[b]))
            };
            pairs.iter().filter(holds).count()
        };
        self.held_at_end += held(Weighting::ByReliability);
        self.held_at_end_plain += held(Weighting::Plain);
    }

    fn count_raters(&mut self, raters: &[Rater], end: &Fit) {
        for (rater, known) in raters.iter().zip(end.raters()) {
            let (all, named) = if rater.is_careless() {
                (&mut self.careless, &mut self.found)
            } else {
                (&mut self.attentive, &mut self.blamed)
            };
            *all += 1;
            for (named, certainty) in named.iter_mut().zip(CERTAINTIES) {
                *named += usize::from(known.careless > certainty);
            }
        }
    }

    pub(crate) fn print(&self) {
        let share = |part: usize, all: usize| 100.0 * part as f64 / all.max(1) as f64;
        println!(
            "{RATERS} raters, {ANSWERS_EACH} answers and {GOLD_EACH} gold pairs each, {MODELS} models, {PROMPTS} prompts"
        );
        println!("differences of two models held by their 95% interval");
        println!(
            "  one look at the end                                  {:5.1}%",
            share(self.held_at_end, self.differences)
        );
        println!(
            "  the same, every rater counted alike                  {:5.1}%",
            share(self.held_at_end_plain, self.differences)
        );
        println!(
            "  interval for any number of looks, after every answer {:5.1}%",
            share(self.held_always, self.differences)
        );
        println!(
            "  interval of one look, after every answer             {:5.1}%",
            share(self.held_always_by_one_look, self.differences)
        );
        println!(
            "raters called careless, by the probability of it: of them careless, of the careless, of the attentive"
        );
        for (place, certainty) in CERTAINTIES.into_iter().enumerate() {
            let (found, blamed) = (self.found[place], self.blamed[place]);
            println!(
                "  above {certainty:4.2}                                          {:5.1}% {:5.1}% {:5.1}%",
                share(found, found + blamed),
                share(found, self.careless),
                share(blamed, self.attentive)
            );
        }
    }
}
