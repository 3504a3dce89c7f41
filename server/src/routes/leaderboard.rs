//! The leaderboard: ratings computed from votes, beside mean scores. Ratings are not stored.

use crate::error::ApiError;
use crate::extract::Query;
use crate::judged::{Judged, PRELIMINARY_BELOW, PRELIMINARY_BELOW_EACH, elo, judged, points};
use crate::routes::question::QuestionQuery;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{Evidence, Leaderboard, LeaderboardRow, RaterEvidence, Separation, Share, path};
use domain::contestant::Contestant;
use domain::evaluate::ModelScore;
use domain::id::{ContestantId, RaterId};
use domain::ranking::{Tally, win_rate_of};
use judging::votes_to_separate;
use std::collections::HashMap;
use store::PairVotes;

/// Ratings and scores
///
/// Models with votes come first, ordered by rating, then models with scores only. Models without votes and scores are
/// left out. A model with LoRA adapters is ranked by itself, beside the model without.
#[utoipa::path(get, path = path::LEADERBOARD, tag = "judging", operation_id = "get_leaderboard", params(QuestionQuery), responses(
    (status = 200, description = "The leaderboard of one question.", body = Leaderboard)))]
pub(crate) async fn leaderboard(
    State(state): State<AppState>,
    Query(QuestionQuery { question }): Query<QuestionQuery>,
) -> Result<Json<Leaderboard>, ApiError> {
    let counts = state.store.tallies(question).await?;
    let judged = judged(&state, question, &counts).await?;
    let votes = counts.iter().map(PairVotes::total).sum();
    let tallies: Vec<Tally> = counts.into_iter().map(Tally::from).collect();
    let places: HashMap<ContestantId, usize> =
        judged.contestants.iter().enumerate().map(|(place, &contestant)| (contestant, place)).collect();
    let contestants = state.store.list_contestants().await?;
    let evidence = (!judged.answers.is_empty()).then(|| evidence(&judged, &contestants));
    let mut scores = state.store.all_model_scores().await?;
    let mut rows = Vec::new();
    for contestant in contestants {
        // Evaluations score models without adapters.
        let is_model = contestant.lora.is_empty();
        let scores = is_model.then(|| scores.remove(&contestant.model_id)).flatten().unwrap_or_default();
        let place = places.get(&contestant.id).copied();
        if place.is_some() || !scores.is_empty() {
            rows.push(row(contestant, place, scores, &judged, &tallies));
        }
    }
    let best_first = |row: &LeaderboardRow| -row.rating.map_or(f64::NEG_INFINITY, |rating| rating.value);
    rows.sort_by(|a, b| best_first(a).total_cmp(&best_first(b)));
    let raters = state.store.count_raters(question).await?;
    Ok(Json(Leaderboard { question, rows, votes, raters, evidence }))
}

/// A row; `place`: the contestant's number among those with votes.
fn row(
    contestant: Contestant,
    place: Option<usize>,
    scores: Vec<ModelScore>,
    judged: &Judged,
    tallies: &[Tally],
) -> LeaderboardRow {
    let estimate = place.map(|place| judged.weighted.rating(place));
    // Models without votes rank after all models with votes.
    let last = || u32::try_from(judged.contestants.len() + 1).unwrap_or(u32::MAX);
    LeaderboardRow {
        rank: place.map_or_else(last, |place| judged.rank(place)),
        model_id: contestant.model_id,
        model: contestant.name,
        lora: contestant.lora,
        objective: contestant.objective,
        rating: estimate.map(|estimate| points(&estimate, estimate.interval())),
        anytime: estimate
            .filter(|known| !known.is_preliminary())
            .map(|known| points(&known, known.anytime())),
        rating_all_alike: place.map(|place| elo(judged.plain.rating(place).value)),
        win_rate: place.and_then(|_| win_rate_of(contestant.id, tallies)),
        scores,
    }
}

fn evidence(judged: &Judged, contestants: &[Contestant]) -> Evidence {
    let position = judged.weighted.position();
    let share = |log_odds: f64| 1.0 / (1.0 + (-log_odds).exp());
    let interval = position.interval();
    let mut raters: Vec<RaterEvidence> = judged
        .weighted
        .raters()
        .iter()
        .zip(&judged.raters)
        .enumerate()
        .map(|(number, (known, &rater))| RaterEvidence {
            pseudonym: pseudonym(rater),
            votes: judged.answers.of_rater(number) as i64,
            reliability: known.mean,
            is_careless: known.is_careless(),
        })
        .collect();
    raters.sort_by(|a, b| a.reliability.total_cmp(&b.reliability).then(a.pseudonym.cmp(&b.pseudonym)));
    Evidence {
        is_preliminary: judged.is_preliminary(),
        preliminary_below: PRELIMINARY_BELOW as i64,
        preliminary_below_each: PRELIMINARY_BELOW_EACH,
        tie_share: judged.weighted.tie_share(),
        left_share: Share {
            value: share(position.value),
            low: share(interval.low),
            high: share(interval.high),
        },
        raters,
        separation: separation(judged, contestants),
    }
}

fn separation(judged: &Judged, contestants: &[Contestant]) -> Option<Separation> {
    let [first, second, ..] = judged.weighted.order()[..] else { return None };
    let name = |number: usize| {
        let id = judged.contestants[number];
        contestants.iter().find(|known| known.id == id).map(|known| known.name.clone())
    };
    let votes_more = votes_to_separate(&judged.weighted, first, second);
    Some(Separation {
        first: name(first)?,
        second: name(second)?,
        is_separated: votes_more == Some(0),
        votes_more: votes_more.map(|votes| votes as i64),
        deciding_votes: judged.influential.as_ref().map(|found| found.answers.len() as i64),
    })
}

/// A rater's name on pages: the same on all of them, and of no use to vote as the rater.
fn pseudonym(rater: RaterId) -> String {
    format!("rater {}", &files::sha256::of_bytes(rater.0.as_bytes())[..6])
}
