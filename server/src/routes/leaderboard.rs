//! The leaderboard: ratings computed from votes, beside mean scores. Ratings are not stored.

use crate::error::ApiError;
use crate::extract::Query;
use crate::judged::judged;
use crate::ratings::{Judged, JudgedCategory, PRELIMINARY_BELOW, PRELIMINARY_BELOW_EACH, elo, points};
use crate::routes::question::QuestionQuery;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{
    CategoryRating, CategoryRatings, Evidence, Leaderboard, LeaderboardRow, RaterEvidence, Separation, Share,
    path,
};
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
/// left out. Ratings are of the newest 20,000 votes; above 2000 votes, they may be those of a moment before. A model with LoRA adapters is ranked by itself, beside the model without.
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
    let categories = categories(&judged, &contestants);
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
    let raters = judged.rater_count;
    Ok(Json(Leaderboard { question, rows, votes, raters, evidence, categories }))
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
        rating_without_checks: place
            .zip(judged.unchecked.as_ref())
            .map(|(place, fit)| elo(fit.rating(place).value)),
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
            checks: i64::from(judged.answers.checks_of(number)[1]),
            checks_passed: i64::from(judged.answers.checks_of(number)[0]),
            reliability_without_checks: judged
                .unchecked
                .as_ref()
                .and_then(|fit| fit.raters().get(number))
                .map(|known| known.mean),
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

/// Ratings by category of prompts.
fn categories(judged: &Judged, contestants: &[Contestant]) -> Vec<CategoryRatings> {
    let names: HashMap<ContestantId, &String> =
        contestants.iter().map(|known| (known.id, &known.name)).collect();
    let ratings = |category: &JudgedCategory| {
        let rating = |&model: &usize| {
            let estimate = category.fit.rating_among(model, &category.models);
            Some(CategoryRating {
                model: (*names.get(&judged.contestants[model])?).clone(),
                rating: points(&estimate, estimate.interval()),
            })
        };
        let mut ratings: Vec<CategoryRating> = category.models.iter().filter_map(rating).collect();
        ratings.sort_by(|a, b| b.rating.value.total_cmp(&a.rating.value));
        let votes = category.fit.answers() as i64;
        CategoryRatings { category: category.name.clone(), votes, ratings }
    };
    judged.categories.iter().map(ratings).collect()
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
