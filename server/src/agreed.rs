//! How raters agree with each other and metrics with raters, from the newest votes on a question.

use domain::evaluate::Metric;
use domain::id::{ContestantId, ImageId};
use domain::preference::Choice;
use domain::ranking::{
    ELO_K, ELO_START, ModelVote, Outcome, Predicted, elo, krippendorff_alpha, tie_aware_accuracy,
};
use judging::{Blend, Compared, Credit, Drift, blend, drift};
use std::collections::{BTreeMap, HashMap};
use store::{ImageScore, RatedVote};

/// Votes of a category below which its accuracy is not told.
const FEWEST_OF_CATEGORY: usize = 20;
/// Categories that are told, those with the most votes.
const CATEGORIES: usize = 12;
/// Pairs of a metric of which it prefers one image and raters the other.
const PARTED: usize = 6;
/// A metric takes part in a blend if it scores both images of this share of the votes with a winner.
const COVERAGE: f64 = 0.8;

/// Agreement of raters and metrics.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    pub(crate) elo: BTreeMap<ContestantId, f64>,
    pub(crate) alpha: Option<f64>,
    pub(crate) judged_by_several: usize,
    pub(crate) metrics: Vec<AgreedMetric>,
    /// The metrics of the blend, the blend, and the best accuracy of one of them on the same votes.
    pub(crate) blend: Option<(Vec<Metric>, Blend, f64)>,
    pub(crate) parted: Vec<Parted>,
}

/// A metric with scores of images that raters have judged.
#[derive(Debug)]
pub(crate) struct AgreedMetric {
    pub(crate) metric: Metric,
    pub(crate) votes: usize,
    pub(crate) accuracy: Option<f64>,
    /// Category, votes and accuracy.
    pub(crate) categories: Vec<(String, usize, f64)>,
    pub(crate) drift: Option<Drift>,
}

/// A pair of images of which raters prefer the first and a metric the second.
#[derive(Debug)]
pub(crate) struct Parted {
    pub(crate) metric: Metric,
    pub(crate) prompt: String,
    pub(crate) images: [ImageId; 2],
    pub(crate) contestants: [ContestantId; 2],
    pub(crate) scores: [f64; 2],
    pub(crate) votes: [usize; 2],
}

/// A vote with the scores of its images by one metric.
struct Scored<'a> {
    vote: &'a RatedVote,
    scores: [f64; 2],
}

impl Scored<'_> {
    /// Metrics have different scales, so only the order of the scores counts, and only equal scores predict a tie.
    fn predicted(&self) -> Predicted {
        let [left, right] = self.scores;
        let first = if left > right {
            1.0
        } else if left < right {
            0.0
        } else {
            0.5
        };
        Predicted { first, outcome: self.vote.choice.into() }
    }
}

impl Agreed {
    /// `votes`: oldest first.
    pub(crate) fn new(
        votes: &[RatedVote],
        scores: &[ImageScore],
        categories: &HashMap<String, String>,
    ) -> Self {
        let on_models: Vec<ModelVote> = votes
            .iter()
            .map(|vote| ModelVote { a: vote.shown[0], b: vote.shown[1], outcome: vote.choice.into() })
            .collect();
        let answers = answers_by_pair(votes);
        let mut by_metric: BTreeMap<Metric, HashMap<ImageId, f64>> = BTreeMap::new();
        for score in scores {
            by_metric.entry(score.metric).or_default().insert(score.image_id, score.value);
        }
        let numbers = prompt_numbers(votes);
        let (mut metrics, mut parted) = (Vec::new(), Vec::new());
        for metric in Metric::ALL {
            let Some(scores) = by_metric.get(&metric) else { continue };
            let scored = scored(votes, scores);
            metrics.push(of_metric(metric, &scored, categories, &numbers));
            parted.extend(parted_of(metric, &scored));
        }
        Self {
            elo: elo(&on_models, ELO_K, ELO_START),
            alpha: krippendorff_alpha(&answers),
            judged_by_several: answers.iter().filter(|answers| answers.len() > 1).count(),
            metrics,
            blend: blended(votes, &by_metric, &numbers),
            parted,
        }
    }
}

/// The answers for each pair of images. The random part of the ids decides which image is first. Were it their age, the
/// image of the newer model would always be second, and if that model is better, agreement would look like chance.
fn answers_by_pair(votes: &[RatedVote]) -> Vec<Vec<Outcome>> {
    let mut answers: BTreeMap<[ImageId; 2], Vec<Outcome>> = BTreeMap::new();
    for vote in votes {
        let [left, right] = vote.images;
        let random_part = |id: ImageId| (id.0.as_u128() as u64, id);
        let (pair, answer) = if random_part(left) <= random_part(right) {
            ([left, right], vote.choice.into())
        } else {
            ([right, left], Outcome::from(vote.choice).swapped())
        };
        answers.entry(pair).or_default().push(answer);
    }
    answers.into_values().collect()
}

fn prompt_numbers(votes: &[RatedVote]) -> HashMap<&str, usize> {
    let mut numbers = HashMap::new();
    for vote in votes {
        let next = numbers.len();
        numbers.entry(vote.prompt.as_str()).or_insert(next);
    }
    numbers
}

/// The votes of whose images both have a score.
fn scored<'a>(votes: &'a [RatedVote], scores: &HashMap<ImageId, f64>) -> Vec<Scored<'a>> {
    let of = |vote: &'a RatedVote| {
        let [left, right] = vote.images;
        Some(Scored { vote, scores: [*scores.get(&left)?, *scores.get(&right)?] })
    };
    votes.iter().filter_map(of).collect()
}

fn of_metric(
    metric: Metric,
    scored: &[Scored<'_>],
    categories: &HashMap<String, String>,
    numbers: &HashMap<&str, usize>,
) -> AgreedMetric {
    let predicted: Vec<Predicted> = scored.iter().map(Scored::predicted).collect();
    let mut by_category: BTreeMap<&str, Vec<Predicted>> = BTreeMap::new();
    for (vote, predicted) in scored.iter().zip(&predicted) {
        if let Some(category) = categories.get(&vote.vote.prompt) {
            by_category.entry(category).or_default().push(*predicted);
        }
    }
    let mut categories: Vec<(String, usize, f64)> = by_category
        .into_iter()
        .filter(|(_, votes)| votes.len() >= FEWEST_OF_CATEGORY)
        .filter_map(|(name, votes)| Some((name.to_owned(), votes.len(), tie_aware_accuracy(&votes, 0.0)?)))
        .collect();
    categories.sort_by_key(|(_, votes, _)| std::cmp::Reverse(*votes));
    categories.truncate(CATEGORIES);
    let credits: Vec<Credit> = scored
        .iter()
        .zip(&predicted)
        .filter_map(|(vote, predicted)| {
            let credit = tie_aware_accuracy(std::slice::from_ref(predicted), 0.0)?;
            Some((credit, *numbers.get(vote.vote.prompt.as_str())?))
        })
        .collect();
    AgreedMetric {
        metric,
        votes: scored.len(),
        accuracy: tie_aware_accuracy(&predicted, 0.0),
        categories,
        drift: drift(&credits),
    }
}

/// The pairs on which raters and the metric part most: by the votes for one image more than for the other, times the difference of
/// the scores in favour of the other.
fn parted_of(metric: Metric, scored: &[Scored<'_>]) -> Vec<Parted> {
    let mut pairs: BTreeMap<[ImageId; 2], Parted> = BTreeMap::new();
    for Scored { vote, scores } in scored {
        let is_sorted = vote.images[0] <= vote.images[1];
        let turned = |side: usize| if is_sorted { side } else { 1 - side };
        let images = [vote.images[turned(0)], vote.images[turned(1)]];
        let pair = pairs.entry(images).or_insert_with(|| Parted {
            metric,
            prompt: vote.prompt.clone(),
            images,
            contestants: [vote.shown[turned(0)], vote.shown[turned(1)]],
            scores: [scores[turned(0)], scores[turned(1)]],
            votes: [0, 0],
        });
        match vote.choice {
            Choice::Left => pair.votes[turned(0)] += 1,
            Choice::Right => pair.votes[turned(1)] += 1,
            Choice::Tie | Choice::BothBad => {}
        }
    }
    let mut parted: Vec<(f64, Parted)> = pairs
        .into_values()
        .map(|mut pair| {
            if pair.votes[1] > pair.votes[0] {
                pair.images.reverse();
                pair.contestants.reverse();
                pair.scores.reverse();
                pair.votes.reverse();
            }
            ((pair.votes[0] - pair.votes[1]) as f64 * (pair.scores[1] - pair.scores[0]), pair)
        })
        .filter(|(strength, _)| *strength > 0.0)
        .collect();
    parted.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    parted.into_iter().take(PARTED).map(|(_, pair)| pair).collect()
}

/// The blend of the metrics that score most votes with a winner.
fn blended(
    votes: &[RatedVote],
    by_metric: &BTreeMap<Metric, HashMap<ImageId, f64>>,
    numbers: &HashMap<&str, usize>,
) -> Option<(Vec<Metric>, Blend, f64)> {
    let decided: Vec<&RatedVote> =
        votes.iter().filter(|vote| matches!(vote.choice, Choice::Left | Choice::Right)).collect();
    let covers = |scores: &HashMap<ImageId, f64>| {
        let both = decided.iter().filter(|vote| vote.images.iter().all(|image| scores.contains_key(image)));
        both.count() as f64 >= COVERAGE * decided.len() as f64
    };
    let chosen: Vec<(Metric, &HashMap<ImageId, f64>)> = by_metric
        .iter()
        .filter(|(_, scores)| covers(scores))
        .map(|(metric, scores)| (*metric, scores))
        .collect();
    let compared = |vote: &&RatedVote| {
        let [left, right] = vote.images;
        let difference =
            |(_, scores): &(Metric, &HashMap<ImageId, f64>)| Some(scores.get(&left)? - scores.get(&right)?);
        Some(Compared {
            differences: chosen.iter().map(difference).collect::<Option<_>>()?,
            first_won: vote.choice == Choice::Left,
            prompt: *numbers.get(vote.prompt.as_str())?,
        })
    };
    let compared: Vec<Compared> = decided.iter().filter_map(compared).collect();
    let found = blend(&compared)?;
    let accuracy = |scorer: usize| {
        let credit = |vote: &Compared| {
            let difference = vote.differences[scorer];
            if difference == 0.0 { 0.5 } else { f64::from(u8::from((difference > 0.0) == vote.first_won)) }
        };
        compared.iter().map(credit).sum::<f64>() / compared.len() as f64
    };
    let best = (0..chosen.len()).map(accuracy).fold(0.0, f64::max);
    Some((chosen.into_iter().map(|(metric, _)| metric).collect(), found, best))
}
