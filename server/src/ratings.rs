//! Ratings from votes, and what else the leaderboard tells of them.

use crate::agreed::Agreed;
use domain::id::{ContestantId, ModelId, RaterId};
use domain::matchmaking::DrawOrder;
use domain::preference::Choice;
use domain::ranking::Rating;
use judging::{
    Answer, Answers, Estimate, Fit, Goal, Influential, Interval, Item, Said, Weighting, fit, fit_from, gains,
    influential,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use store::{ImageScore, PairVotes, RatedRanking, RatedVote, RaterChecks};

/// Votes below which every rating is preliminary.
pub(crate) const PRELIMINARY_BELOW: usize = 100;
/// Votes on each model below which they are.
pub(crate) const PRELIMINARY_BELOW_EACH: i64 = 20;
/// Share of matchups whose models are drawn evenly.
pub(crate) const EVEN_SHARE: f64 = 0.15;
/// Up to this many votes, a request waits for ratings of all of them. Beyond, it gets those that are known, and new ones are
/// computed meanwhile.
pub(crate) const FITTED_AT_ONCE: i64 = 2000;
/// Votes of a category below which it has no ratings of its own.
const FEWEST_OF_CATEGORY: usize = 20;
/// Categories with ratings of their own, those with the most votes.
const CATEGORIES: usize = 12;

/// Ratings, and the votes that they are from.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The counts of all votes at that time.
    pub(crate) counts: Vec<PairVotes>,
    /// Raters who voted on the question.
    pub(crate) rater_count: i64,
    /// The contestants with votes, by their number in the fits.
    pub(crate) contestants: Vec<ContestantId>,
    /// The raters, by their number in the fits.
    pub(crate) raters: Vec<RaterId>,
    pub(crate) answers: Answers,
    /// Raters count by their reliability.
    pub(crate) weighted: Fit,
    /// The same without their checks; none if there are no checks.
    pub(crate) unchecked: Option<Fit>,
    /// Every rater counts alike.
    pub(crate) plain: Fit,
    /// Without which the first and the second model change places.
    pub(crate) influential: Option<Influential>,
    /// By category of prompts, the one with the most votes first.
    pub(crate) categories: Vec<JudgedCategory>,
    pub(crate) agreed: Agreed,
}

/// Ratings from the votes on prompts of one category.
#[derive(Debug)]
pub(crate) struct JudgedCategory {
    pub(crate) name: String,
    pub(crate) fit: Fit,
    /// The numbers of the models with votes in it.
    pub(crate) models: Vec<usize>,
}

/// What is read from the database.
pub(crate) struct Evidence {
    pub(crate) counts: Vec<PairVotes>,
    pub(crate) rater_count: i64,
    /// The newest votes, oldest first.
    pub(crate) votes: Vec<RatedVote>,
    /// The newest orders of three or four images, oldest first.
    pub(crate) rankings: Vec<RatedRanking>,
    /// Scores of their images.
    pub(crate) scores: Vec<ImageScore>,
    pub(crate) checks: Vec<RaterChecks>,
    /// By prompt.
    pub(crate) categories: HashMap<String, String>,
}

/// Numbers in the order of first use.
struct Numbers<K>(BTreeMap<K, usize>, Vec<K>);

impl<K: Ord + Clone> Numbers<K> {
    fn new() -> Self {
        Self(BTreeMap::new(), Vec::new())
    }

    fn of(&mut self, key: &K) -> usize {
        let next = self.1.len();
        *self.0.entry(key.clone()).or_insert_with(|| {
            self.1.push(key.clone());
            next
        })
    }
}

impl Judged {
    /// `before`: earlier ratings, from which the fits start if the models are the same.
    pub(crate) fn new(evidence: Evidence, before: Option<&Self>) -> Self {
        let Evidence { counts, rater_count, votes, rankings, scores, checks, categories } = evidence;
        // In the order of their ids, so that the numbers of a later fit are the same and it can start from this one.
        let contestants: BTreeSet<ContestantId> = votes
            .iter()
            .flat_map(|vote| vote.shown)
            .chain(rankings.iter().flat_map(|ranking| ranking.shown.iter().copied()))
            .collect();
        let contestants: Vec<ContestantId> = contestants.into_iter().collect();
        let number = |contestant: &ContestantId| contestants.binary_search(contestant).unwrap_or_default();
        let (mut raters, mut prompts) = (Numbers::new(), Numbers::new());
        let mut numbered: Vec<Answer> = votes
            .iter()
            .map(|vote| Answer {
                rater: raters.of(&vote.rater),
                prompt: prompts.of(&vote.prompt),
                shown: vote.shown.iter().map(number).collect(),
                said: said(vote.choice),
            })
            .collect();
        numbered.extend(rankings.iter().map(|ranking| Answer {
            rater: raters.of(&ranking.rater),
            prompt: prompts.of(&ranking.prompt),
            shown: ranking.shown.iter().map(number).collect(),
            said: said_of_set(&ranking.order, ranking.shown.len()),
        }));
        let mut answers = Answers::new(contestants.len());
        for answer in &numbered {
            // The query leaves out what cannot be counted: two images of one contestant.
            answers.push(answer).ok();
        }
        let has_checks = push_checks(&mut answers, &raters, &checks);
        let start = before
            .filter(|before| before.contestants == contestants && votes.len() > FITTED_AT_ONCE as usize);
        let fitted = |answers: &Answers, weighting, start: Option<&Fit>| match start {
            Some(start) => fit_from(answers, weighting, start),
            None => fit(answers, weighting),
        };
        let weighted = fitted(&answers, Weighting::ByReliability, start.map(|before| &before.weighted));
        let plain = fitted(&answers, Weighting::Plain, start.map(|before| &before.plain));
        let unchecked = has_checks.then(|| {
            let without = answers.without_checks();
            fitted(&without, Weighting::ByReliability, start.map(|before| &before.weighted))
        });
        let influential = match weighted.order()[..] {
            [first, second, ..] => influential(&answers, &weighted, Weighting::ByReliability, first, second),
            _ => None,
        };
        let by_category = by_category(&answers, &numbered, &prompts.1, &categories, &weighted);
        let agreed = Agreed::new(&votes, &scores, &categories);
        let raters = raters.1;
        Self {
            counts,
            rater_count,
            contestants,
            raters,
            answers,
            weighted,
            unchecked,
            plain,
            influential,
            categories: by_category,
            agreed,
        }
    }

    /// Whether the ratings are no more than a first impression: few votes, or few on some model.
    pub(crate) fn is_preliminary(&self) -> bool {
        let votes = |contestant: ContestantId| {
            let on = self.counts.iter().filter(|pair| pair.a == contestant || pair.b == contestant);
            on.map(PairVotes::total).sum::<i64>()
        };
        self.answers.len() < PRELIMINARY_BELOW
            || self.contestants.iter().any(|&contestant| votes(contestant) < PRELIMINARY_BELOW_EACH)
    }

    /// 1 + the number of models that are better at 95% confidence, however often one looks.
    pub(crate) fn rank(&self, model: usize) -> u32 {
        let is_better =
            |other: &usize| *other != model && self.weighted.difference(*other, model).anytime().low > 0.0;
        let better = (0..self.contestants.len()).filter(is_better).count();
        u32::try_from(better + 1).unwrap_or(u32::MAX)
    }

    /// The order in which pairs of models are drawn: by what a vote tells about which is the best, or evenly.
    pub(crate) fn draw_order(&self, is_even: bool) -> DrawOrder {
        let count = self.contestants.len();
        let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| vec![a, b]));
        let items: Vec<Item> = pairs.map(|models| Item { models, seconds: 1.0 }).collect();
        let gains = gains(&self.weighted, &items, Goal::Best);
        if gains.iter().all(|gain| *gain == 0.0) {
            return DrawOrder::FewestVotes;
        }
        let mut ranked: Vec<(&Item, f64)> = items.iter().zip(gains).collect();
        ranked.sort_by(|x, y| y.1.total_cmp(&x.1));
        // A contestant with adapters has an id of its own, which is no model's: its pairs match none that can be drawn.
        let model = |number: usize| ModelId(self.contestants[number].0);
        let ranked = ranked.into_iter().map(|(item, _)| (model(item.models[0]), model(item.models[1])));
        DrawOrder::Informative { ranked: ranked.collect(), even_share: EVEN_SHARE, is_even }
    }
}

/// Adds the checks of the raters with votes; says whether there is one.
fn push_checks(answers: &mut Answers, raters: &Numbers<RaterId>, checks: &[RaterChecks]) -> bool {
    let mut has_any = false;
    for of in checks {
        let Some(&rater) = raters.0.get(&of.rater) else { continue };
        (0..of.right).for_each(|_| answers.push_gold(rater, true));
        (0..of.wrong).for_each(|_| answers.push_gold(rater, false));
        (0..of.same).for_each(|_| answers.push_repeat(rater, true));
        (0..of.other).for_each(|_| answers.push_repeat(rater, false));
        has_any |= of.right + of.wrong + of.same + of.other > 0;
    }
    has_any
}

/// A fit to the votes of each category that has enough.
fn by_category(
    answers: &Answers,
    numbered: &[Answer],
    prompts: &[String],
    categories: &HashMap<String, String>,
    all: &Fit,
) -> Vec<JudgedCategory> {
    let of_prompt: Vec<Option<&String>> = prompts.iter().map(|prompt| categories.get(prompt)).collect();
    let mut found: BTreeMap<&str, (usize, Vec<usize>)> = BTreeMap::new();
    for answer in numbered {
        let Some(category) = of_prompt[answer.prompt] else { continue };
        let (votes, models) = found.entry(category).or_default();
        *votes += 1;
        models
            .extend(answer.shown.iter().filter(|model| !models.contains(model)).copied().collect::<Vec<_>>());
    }
    let mut found: Vec<_> =
        found.into_iter().filter(|(_, (votes, _))| *votes >= FEWEST_OF_CATEGORY).collect();
    found.sort_by_key(|(_, (votes, _))| std::cmp::Reverse(*votes));
    found.truncate(CATEGORIES);
    // One category of all prompts would repeat the ratings.
    if let [(_, (votes, _))] = found[..]
        && votes == numbered.len()
    {
        return Vec::new();
    }
    found
        .into_iter()
        .map(|(name, (_, models))| {
            let of_category =
                answers.of_prompts(|prompt| of_prompt[prompt].is_some_and(|known| known == name));
            let fit = fit_from(&of_category, Weighting::ByReliability, all);
            JudgedCategory { name: name.to_owned(), fit, models }
        })
        .collect()
}

fn said(choice: Choice) -> Said {
    match choice {
        Choice::Left => Said::Best(0),
        Choice::Right => Said::Best(1),
        Choice::Tie | Choice::BothBad => Said::Neither,
    }
}

/// An order counts as a ranking if it names all images. Of a shorter one, the best counts.
fn said_of_set(order: &[usize], images: usize) -> Said {
    if order.len() == images {
        Said::Ranking(order.to_vec())
    } else {
        Said::Best(order.first().copied().unwrap_or(images))
    }
}

/// An estimate on the Elo scale, with this interval.
pub(crate) fn points(estimate: &Estimate, interval: Interval) -> Rating {
    Rating { value: elo(estimate.value), low: elo(interval.low), high: elo(interval.high) }
}

/// r on the Elo scale, on which the mean of all models is 1000.
pub(crate) fn elo(r: f64) -> f64 {
    1000.0 + 400.0 / std::f64::consts::LN_10 * r
}
