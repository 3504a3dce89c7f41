//! Head-to-head win rates, agreement between raters, and agreement of metrics with raters, computed from all votes.

use crate::error::ApiError;
use crate::extract::Query;
use crate::judged::judged;
use crate::routes::question::QuestionQuery;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{Agreement, MetricAgreement, ModelScore, path};
use domain::evaluate::Metric;
use domain::id::{ContestantId, ImageId};
use domain::preference::JudgedVote;
use domain::ranking::{
    ELO_K, ELO_START, ModelVote, Outcome, Predicted, Tally, elo, krippendorff_alpha, spearman,
    tie_aware_accuracy, win_rate_matrix,
};
use std::collections::{BTreeMap, HashMap};
use store::JudgedScores;

/// Head-to-head win rates and agreement
///
/// Win rates of every model against every other, Elo ratings, Krippendorff's alpha between raters, and the agreement of
/// each metric with the votes.
#[utoipa::path(get, path = path::AGREEMENT, tag = "judging", operation_id = "get_agreement", params(QuestionQuery), responses(
    (status = 200, description = "The models are ordered by rating, best first.", body = Agreement)))]
pub(crate) async fn agreement(
    State(state): State<AppState>,
    Query(QuestionQuery { question }): Query<QuestionQuery>,
) -> Result<Json<Agreement>, ApiError> {
    let counts = state.store.tallies(question).await?;
    let judged = judged(&state, question, &counts).await?;
    let tallies: Vec<Tally> = counts.into_iter().map(Tally::from).collect();
    let listed = state.store.list_contestants().await?;
    let ids: HashMap<&str, ContestantId> =
        listed.iter().map(|known| (known.name.as_str(), known.id)).collect();
    let names: HashMap<ContestantId, &str> = ids.iter().map(|(name, id)| (*id, *name)).collect();
    let ratings = judged.weighted.ratings();
    let standings: Vec<Standing> = (judged.weighted.order().into_iter())
        .map(|place| Standing { model: judged.contestants[place], rating: ratings[place] })
        .filter(|standing| names.contains_key(&standing.model))
        .collect();

    let votes = state.store.judged_votes(question).await?;
    let on_models: Vec<ModelVote> = votes.iter().filter_map(|vote| on_models(vote, &ids)).collect();
    let elo = elo(&on_models, ELO_K, ELO_START);
    let matrix = win_rate_matrix(&tallies);
    let places: HashMap<ContestantId, usize> =
        matrix.models.iter().enumerate().map(|(place, &model)| (model, place)).collect();
    let index = |model| places.get(&model).copied();
    let row = |a: &Standing| {
        standings.iter().map(|b| matrix.rows[index(a.model)?][index(b.model)?]).collect::<Vec<_>>()
    };
    let answers = answers_by_pair(&votes);
    let scores: HashMap<ContestantId, Vec<ModelScore>> = state
        .store
        .all_model_scores()
        .await?
        .into_iter()
        .map(|(model, scores)| (model.into(), scores))
        .collect();
    Ok(Json(Agreement {
        question,
        models: standings.iter().map(|standing| names[&standing.model].to_owned()).collect(),
        win_rates: standings.iter().map(row).collect(),
        elo: standings
            .iter()
            .map(|standing| elo.get(&standing.model).copied().unwrap_or(ELO_START))
            .collect(),
        alpha: krippendorff_alpha(&answers),
        judged_by_several: answers.iter().filter(|answers| answers.len() > 1).count() as i64,
        metrics: metrics(&standings, &scores, &state.store.judged_scores(question).await?),
    }))
}

/// A contestant and its rating, on the scale of log-odds.
struct Standing {
    model: ContestantId,
    rating: f64,
}

fn on_models(vote: &JudgedVote, ids: &HashMap<&str, ContestantId>) -> Option<ModelVote> {
    let [a, b] = [0, 1].map(|side: usize| ids.get(vote.images[side].model.as_str()).copied());
    Some(ModelVote { a: a?, b: b?, outcome: vote.choice.into() })
}

/// The answers for each pair of images. The random part of the ids decides which image is first. Were it their age, the
/// image of the newer model would always be second, and if that model is better, agreement would look like chance.
fn answers_by_pair(votes: &[JudgedVote]) -> Vec<Vec<Outcome>> {
    let mut answers: BTreeMap<[ImageId; 2], Vec<Outcome>> = BTreeMap::new();
    for vote in votes {
        let [left, right] = [vote.images[0].id, vote.images[1].id];
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

/// The metrics that have scores of judged images or of rated models, in the order of `Metric::ALL`.
fn metrics(
    standings: &[Standing],
    mean_scores: &HashMap<ContestantId, Vec<ModelScore>>,
    judged: &[JudgedScores],
) -> Vec<MetricAgreement> {
    let mut all = Vec::new();
    for metric in Metric::ALL {
        let pairs: Vec<Predicted> =
            judged.iter().filter(|vote| vote.metric == metric).map(predicted).collect();
        let (ratings, scores): (Vec<f64>, Vec<f64>) = standings
            .iter()
            .filter_map(|standing| {
                let score = mean_scores.get(&standing.model)?.iter().find(|score| score.metric == metric)?;
                Some((standing.rating, score.mean))
            })
            .unzip();
        if pairs.is_empty() && ratings.is_empty() {
            continue;
        }
        all.push(MetricAgreement {
            metric,
            votes: pairs.len() as i64,
            accuracy: tie_aware_accuracy(&pairs, 0.0),
            models: ratings.len() as i64,
            rank_correlation: spearman(&ratings, &scores),
        });
    }
    all
}

/// The outcome that the scores predict. Metrics have different scales, so only the order of the scores counts, and only
/// equal scores predict a tie.
fn predicted(vote: &JudgedScores) -> Predicted {
    let [left, right] = vote.scores;
    let first = if left > right {
        1.0
    } else if left < right {
        0.0
    } else {
        0.5
    };
    Predicted { first, outcome: vote.choice.into() }
}
