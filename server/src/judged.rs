//! Ratings and agreement from the newest votes, kept until there are other votes.

use crate::error::ApiError;
use crate::ratings::{EVEN_SHARE, Evidence, FITTED_AT_ONCE, Judged, PRELIMINARY_BELOW};
use crate::state::AppState;
use domain::matchmaking::DrawOrder;
use domain::preference::Question;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use store::PairVotes;

/// Ratings are of at most this many votes, the newest: more would narrow intervals below a point or two, and a fit to
/// them takes a second or two.
const MOST_VOTES: u32 = 20_000;
/// Draws follow ratings until there are a twentieth more votes, so that not every vote leads to a fit.
const STALE: i64 = 20;

/// The newest ratings of each question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judgements(Arc<Mutex<HashMap<Question, Known>>>);

#[derive(Debug, Default)]
struct Known {
    judged: Option<Arc<Judged>>,
    /// Whether newer ones are being computed.
    is_renewed: bool,
}

/// The ratings of a question from its newest votes; `counts`: those of all its votes now. Where votes are many, they may be of votes
/// somewhat before.
pub(crate) async fn judged(
    state: &AppState,
    question: Question,
    counts: &[PairVotes],
) -> Result<Arc<Judged>, ApiError> {
    match state.judgements.of(question) {
        Some(known) if known.counts == counts => Ok(known),
        Some(known) if total(counts) > FITTED_AT_ONCE => {
            renew(state, question, counts.to_vec());
            Ok(known)
        }
        _ => fitted(state, question, counts.to_vec()).await,
    }
}

/// Computes the ratings of all questions with many votes, so that no request waits for the first of them.
pub(crate) async fn prepare(state: &AppState) {
    for question in Question::ALL {
        match state.store.tallies(question).await {
            Ok(counts) if total(&counts) > FITTED_AT_ONCE => renew(state, question, counts),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "votes cannot be counted"),
        }
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
    let now = total(&counts);
    if now < PRELIMINARY_BELOW as i64 {
        return Ok(DrawOrder::FewestVotes);
    }
    let is_fresh = |known: &Arc<Judged>| (now - now / STALE..=now).contains(&total(&known.counts));
    let judged = match state.judgements.of(question).filter(is_fresh) {
        Some(known) => known,
        None => judged(state, question, &counts).await?,
    };
    Ok(judged.draw_order(draw < EVEN_SHARE))
}

fn total(counts: &[PairVotes]) -> i64 {
    counts.iter().map(PairVotes::total).sum()
}

/// Computes ratings in a task of its own, unless one does.
fn renew(state: &AppState, question: Question, counts: Vec<PairVotes>) {
    if !state.judgements.begin(question) {
        return;
    }
    let state = state.clone();
    tokio::spawn(async move {
        if let Err(error) = fitted(&state, question, counts).await {
            tracing::warn!(?error, "ratings cannot be computed");
        }
        state.judgements.end(question);
    });
}

async fn fitted(
    state: &AppState,
    question: Question,
    counts: Vec<PairVotes>,
) -> Result<Arc<Judged>, ApiError> {
    let store = &state.store;
    let votes = store.rated_votes(question, MOST_VOTES).await?;
    let rankings = store.rated_rankings(question, MOST_VOTES).await?;
    let of_rankings = rankings.iter().map(|ranking| ranking.prompt.as_str());
    let mut prompts: Vec<&str> = votes.iter().map(|vote| vote.prompt.as_str()).chain(of_rankings).collect();
    prompts.sort_unstable();
    prompts.dedup();
    let rater_count = if votes.len() < MOST_VOTES as usize {
        // All votes on the question. The query would look for them among each rater's votes on other questions.
        let of_rankings = rankings.iter().map(|ranking| ranking.rater);
        votes.iter().map(|vote| vote.rater).chain(of_rankings).collect::<BTreeSet<_>>().len() as i64
    } else {
        store.count_raters(question).await?
    };
    let evidence = Evidence {
        counts,
        rater_count,
        scores: store.scores_of_newest_votes(question, MOST_VOTES).await?,
        checks: store.rater_checks(question).await?,
        categories: store.prompt_categories(&prompts).await?,
        votes,
        rankings,
    };
    let before = state.judgements.of(question);
    let judged = tokio::task::spawn_blocking(move || Arc::new(Judged::new(evidence, before.as_deref())));
    let judged = judged.await.map_err(ApiError::internal)?;
    state.judgements.keep(question, judged.clone());
    Ok(judged)
}

impl Judgements {
    fn of(&self, question: Question) -> Option<Arc<Judged>> {
        self.0.lock().ok()?.get(&question)?.judged.clone()
    }

    fn keep(&self, question: Question, judged: Arc<Judged>) {
        if let Ok(mut all) = self.0.lock() {
            all.entry(question).or_default().judged = Some(judged);
        }
    }

    /// Whether the caller is to compute new ratings; false if somebody does.
    fn begin(&self, question: Question) -> bool {
        let Ok(mut all) = self.0.lock() else { return false };
        !std::mem::replace(&mut all.entry(question).or_default().is_renewed, true)
    }

    fn end(&self, question: Question) {
        if let Ok(mut all) = self.0.lock() {
            all.entry(question).or_default().is_renewed = false;
        }
    }
}
