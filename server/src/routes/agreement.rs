//! Head-to-head win rates, agreement between raters, and agreement of metrics with raters.

use crate::agreed::{Agreed, AgreedMetric, Parted};
use crate::error::ApiError;
use crate::extract::Query;
use crate::judged::judged;
use crate::routes::question::QuestionQuery;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{
    Agreement, BlendWeight, CalibrationGroup, CategoryAccuracy, MetricAgreement, ModelScore, PartedPair,
    ScorerBlend, ScorerDrift, path,
};
use domain::evaluate::Metric;
use domain::id::{ContestantId, ImageId, ModelId};
use domain::ranking::{ELO_START, Tally, spearman, win_rate_matrix};
use judging::Drift;
use std::collections::{HashMap, HashSet};

/// Head-to-head win rates and agreement
///
/// Win rates of every model against every other from all votes; and from the newest 20,000 Elo ratings, Krippendorff's alpha between
/// raters, and the agreement of each metric with the votes.
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
    let names: HashMap<ContestantId, &str> =
        listed.iter().map(|known| (known.id, known.name.as_str())).collect();
    let ratings = judged.weighted.ratings();
    let standings: Vec<Standing> = (judged.weighted.order().into_iter())
        .map(|place| Standing { model: judged.contestants[place], rating: ratings[place] })
        .filter(|standing| names.contains_key(&standing.model))
        .collect();
    let matrix = win_rate_matrix(&tallies);
    let places: HashMap<ContestantId, usize> =
        matrix.models.iter().enumerate().map(|(place, &model)| (model, place)).collect();
    let index = |model| places.get(&model).copied();
    let row = |a: &Standing| {
        standings.iter().map(|b| matrix.rows[index(a.model)?][index(b.model)?]).collect::<Vec<_>>()
    };
    let scores: HashMap<ContestantId, Vec<ModelScore>> = state
        .store
        .all_model_scores()
        .await?
        .into_iter()
        .map(|(model, scores)| (model.into(), scores))
        .collect();
    let withheld = state.store.models_being_judged().await?;
    let models: HashMap<ContestantId, ModelId> =
        listed.iter().map(|known| (known.id, known.model_id)).collect();
    let Agreed { elo, alpha, judged_by_several, parted, .. } = &judged.agreed;
    Ok(Json(Agreement {
        question,
        models: standings.iter().map(|standing| names[&standing.model].to_owned()).collect(),
        win_rates: standings.iter().map(row).collect(),
        elo: standings
            .iter()
            .map(|standing| elo.get(&standing.model).copied().unwrap_or(ELO_START))
            .collect(),
        alpha: *alpha,
        judged_by_several: *judged_by_several as i64,
        metrics: metrics(&standings, &scores, &judged.agreed.metrics),
        blend: blend(&judged.agreed),
        parted: parted.iter().filter(|pair| is_shown(pair, &models, &withheld)).map(parted_pair).collect(),
    }))
}

/// A contestant and its rating, on the scale of log-odds.
struct Standing {
    model: ContestantId,
    rating: f64,
}

/// The metrics that have scores of judged images or of rated models, in the order of `Metric::ALL`.
fn metrics(
    standings: &[Standing],
    mean_scores: &HashMap<ContestantId, Vec<ModelScore>>,
    agreed: &[AgreedMetric],
) -> Vec<MetricAgreement> {
    let mut all = Vec::new();
    for metric in Metric::ALL {
        let found = agreed.iter().find(|found| found.metric == metric);
        let (ratings, scores): (Vec<f64>, Vec<f64>) = standings
            .iter()
            .filter_map(|standing| {
                let score = mean_scores.get(&standing.model)?.iter().find(|score| score.metric == metric)?;
                Some((standing.rating, score.mean))
            })
            .unzip();
        let votes = found.map_or(0, |found| found.votes);
        if votes == 0 && ratings.is_empty() {
            continue;
        }
        let of_category = |(category, votes, accuracy): &(String, usize, f64)| CategoryAccuracy {
            category: category.clone(),
            votes: *votes as i64,
            accuracy: *accuracy,
        };
        all.push(MetricAgreement {
            metric,
            votes: votes as i64,
            accuracy: found.and_then(|found| found.accuracy),
            models: ratings.len() as i64,
            rank_correlation: spearman(&ratings, &scores),
            categories: found.into_iter().flat_map(|found| &found.categories).map(of_category).collect(),
            drift: found.and_then(|found| found.drift).map(drift),
        });
    }
    all
}

fn drift(found: Drift) -> ScorerDrift {
    ScorerDrift {
        earlier_votes: found.earlier.0 as i64,
        earlier_accuracy: found.earlier.1,
        newest_votes: found.newest.0 as i64,
        newest_accuracy: found.newest.1,
        low: found.difference[0],
        high: found.difference[1],
        has_drifted: found.has_drifted(),
    }
}

fn blend(agreed: &Agreed) -> Option<ScorerBlend> {
    let (metrics, found, best_single) = agreed.blend.as_ref()?;
    let weight = |(metric, weight): (&Metric, &f64)| BlendWeight { metric: *metric, weight: *weight };
    let group = |group: &judging::Calibrated| CalibrationGroup {
        votes: group.votes as i64,
        predicted: group.predicted,
        observed: group.observed,
    };
    Some(ScorerBlend {
        weights: metrics.iter().zip(&found.weights).map(weight).collect(),
        votes: found.votes as i64,
        prompts: found.prompts as i64,
        accuracy: found.accuracy,
        log_loss: found.log_loss,
        best_single: *best_single,
        calibration: found.calibration.iter().map(group).collect(),
    })
}

/// Whether none of the pair's models is judged in a campaign that is not closed.
fn is_shown(pair: &Parted, models: &HashMap<ContestantId, ModelId>, withheld: &HashSet<ModelId>) -> bool {
    let model = |contestant: &ContestantId| models.get(contestant);
    pair.contestants.iter().all(|contestant| model(contestant).is_some_and(|model| !withheld.contains(model)))
}

fn parted_pair(pair: &Parted) -> PartedPair {
    let url = |image: ImageId| path::IMAGE_FILE.replace("{id}", &image.to_string());
    PartedPair {
        metric: pair.metric,
        prompt: pair.prompt.clone(),
        preferred_url: url(pair.images[0]),
        scored_url: url(pair.images[1]),
        preferred_score: pair.scores[0],
        scored_score: pair.scores[1],
        votes_for: pair.votes[0] as i64,
        votes_against: pair.votes[1] as i64,
    }
}
