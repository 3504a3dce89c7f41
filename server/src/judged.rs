//! Ratings from votes, kept until there are other votes.

use crate::error::ApiError;
use crate::state::AppState;
use domain::id::{ContestantId, ModelId, RaterId};
use domain::matchmaking::DrawOrder;
use domain::preference::{Choice, Question};
use domain::ranking::Rating;
use judging::{
    Answer, Answers, Estimate, Fit, Goal, Influential, Interval, Item, Said, Weighting, fit, gains,
    influential,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use store::{PairVotes, RatedRanking, RatedVote};

/// Votes below which every rating is preliminary.
pub(crate) const PRELIMINARY_BELOW: usize = 100;
/// Votes on each model below which they are.
pub(crate) const PRELIMINARY_BELOW_EACH: i64 = 20;
/// Share of matchups whose models are drawn evenly.
const EVEN_SHARE: f64 = 0.15;
/// Ratings are of at most this many votes, the newest: more would narrow intervals below a point or two, and a fit to
/// them takes a fraction of a second.
const MOST_VOTES: u32 = 20_000;
/// Draws follow ratings until there are a twentieth more votes, so that not every vote leads to a fit.
const STALE: i64 = 20;

/// The newest ratings of each question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judgements(Arc<Mutex<HashMap<Question, Arc<Judged>>>>);

/// Ratings, and the votes that they are from.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The counts of all votes at that time.
    counts: Vec<PairVotes>,
    /// The contestants with votes, by their number in the fits.
    pub(crate) contestants: Vec<ContestantId>,
    /// The raters, by their number in the fits.
    pub(crate) raters: Vec<RaterId>,
    pub(crate) answers: Answers,
    /// Raters count by their reliability.
    pub(crate) weighted: Fit,
    /// Every rater counts alike.
    pub(crate) plain: Fit,
    /// Without which the first and the second model change places.
    pub(crate) influential: Option<Influential>,
}

/// The ratings of a question from its newest votes; `counts`: those of all its votes now.
pub(crate) async fn judged(
    state: &AppState,
    question: Question,
    counts: &[PairVotes],
) -> Result<Arc<Judged>, ApiError> {
    match state.judgements.of(question).filter(|known| known.counts == counts) {
        Some(known) => Ok(known),
        None => fitted(state, question, counts).await,
    }
}

/// The order in which pairs of models are drawn: by the number of votes until ratings say something, then by what a vote
/// tells about which model is the best. `models`: the number that the draw is restricted to, or 0. `draw`: uniform from 0 to 1.
pub(crate) async fn draw_order(
    state: &AppState,
    question: Question,
    models: usize,
    draw: f64,
) -> Result<DrawOrder, ApiError> {
    // Two models are one pair, and one model has no rating.
    if (1..=2).contains(&models) {
        return Ok(DrawOrder::FewestVotes);
    }
    let counts = state.store.tallies(question).await?;
    let votes = |counts: &[PairVotes]| counts.iter().map(PairVotes::total).sum::<i64>();
    let now = votes(&counts);
    if now < PRELIMINARY_BELOW as i64 {
        return Ok(DrawOrder::FewestVotes);
    }
    let is_fresh = |known: &Arc<Judged>| (now - now / STALE..=now).contains(&votes(&known.counts));
    let judged = match state.judgements.of(question).filter(is_fresh) {
        Some(known) => known,
        None => fitted(state, question, &counts).await?,
    };
    Ok(judged.draw_order(draw < EVEN_SHARE))
}

async fn fitted(state: &AppState, question: Question, counts: &[PairVotes]) -> Result<Arc<Judged>, ApiError> {
    let votes = state.store.rated_votes(question, MOST_VOTES).await?;
    let rankings = state.store.rated_rankings(question, MOST_VOTES).await?;
    let counts = counts.to_vec();
    let judged = tokio::task::spawn_blocking(move || Arc::new(Judged::new(counts, &votes, &rankings)));
    let judged = judged.await.map_err(ApiError::internal)?;
    if let Ok(mut all) = state.judgements.0.lock() {
        all.insert(question, judged.clone());
    }
    Ok(judged)
}

impl Judgements {
    fn of(&self, question: Question) -> Option<Arc<Judged>> {
        self.0.lock().ok()?.get(&question).cloned()
    }
}

/// Numbers in the order of first use.
struct Numbers<K>(BTreeMap<K, usize>, Vec<K>);

impl<K: Ord + Clone> Numbers<K> {
    fn of(&mut self, key: &K) -> usize {
        let next = self.1.len();
        *self.0.entry(key.clone()).or_insert_with(|| {
            self.1.push(key.clone());
            next
        })
    }
}

impl Judged {
    fn new(counts: Vec<PairVotes>, votes: &[RatedVote], rankings: &[RatedRanking]) -> Self {
        let mut contestants = Numbers(BTreeMap::new(), Vec::new());
        let mut raters = Numbers(BTreeMap::new(), Vec::new());
        let mut prompts = Numbers(BTreeMap::new(), Vec::new());
        let mut numbered: Vec<Answer> = votes
            .iter()
            .map(|vote| Answer {
                rater: raters.of(&vote.rater),
                prompt: prompts.of(&vote.prompt),
                shown: vote.shown.iter().map(|contestant| contestants.of(contestant)).collect(),
                said: said(vote.choice),
            })
            .collect();
        numbered.extend(rankings.iter().map(|ranking| Answer {
            rater: raters.of(&ranking.rater),
            prompt: prompts.of(&ranking.prompt),
            shown: ranking.shown.iter().map(|contestant| contestants.of(contestant)).collect(),
            said: said_of_set(&ranking.order, ranking.shown.len()),
        }));
        let mut answers = Answers::new(contestants.1.len());
        for answer in &numbered {
            // The query leaves out what cannot be counted: two images of one contestant.
            answers.push(answer).ok();
        }
        let weighted = fit(&answers, Weighting::ByReliability);
        let plain = fit(&answers, Weighting::Plain);
        let influential = match weighted.order()[..] {
            [first, second, ..] => influential(&answers, &weighted, Weighting::ByReliability, first, second),
            _ => None,
        };
        let (contestants, raters) = (contestants.1, raters.1);
        Self { counts, contestants, raters, answers, weighted, plain, influential }
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

    fn draw_order(&self, is_even: bool) -> DrawOrder {
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
