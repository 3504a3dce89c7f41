//! Matchups, votes and ratings.

use super::campaign::CampaignDesk;
use super::comparison::Drawing;
use super::evidence::Evidence;
use super::scorers::{CategoryAccuracy, CategoryRatings, PartedPair, ScorerBlend, ScorerDrift};
use crate::Timestamp;
use crate::evaluate::{Metric, ModelScore};
use crate::id::{ImageId, MatchupId, ModelId, VoteId};
use crate::lora::LoraUse;
use crate::preference::{Choice, Question};
use crate::ranking::{Rating, WinRate};
use serde::{Deserialize, Serialize};

/// A matchup as a rater sees it, without anything that identifies the models.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlindMatchup {
    /// Id of the matchup.
    pub id: MatchupId,
    /// The question to answer.
    #[serde(default)]
    pub question: Question,
    /// The prompt of both images.
    pub prompt: String,
    /// URL of the left image.
    pub left_url: String,
    /// URL of the right image.
    pub right_url: String,
    /// URLs of a third and a fourth image, in a campaign that asks for the best of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_urls: Vec<String>,
}

impl BlindMatchup {
    /// Number of images: above two, the rater picks the best.
    #[must_use]
    pub fn images(&self) -> u8 {
        2 + u8::try_from(self.more_urls.len()).unwrap_or(u8::MAX - 2)
    }
}

/// The next matchup of a rater.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NextMatchup {
    /// The matchup; none if the rater has judged all of them.
    pub matchup: Option<BlindMatchup>,
    /// What follows once it is judged, in this order, so that the images can be loaded early; at most two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upcoming: Vec<BlindMatchup>,
    /// The matchup that the rater judged or skipped last, whose answer can be taken back; none if there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<MatchupId>,
    /// The question of the request.
    #[serde(default)]
    pub question: Question,
    /// Names of the models that the request is restricted to; empty for all models. It does not tell which of them
    /// made which image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// The job that draws images of these models, if one is unfinished or the newest one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawing: Option<Drawing>,
    /// Votes that the rater has cast so far.
    pub votes_cast: i64,
    /// The campaign, at the desk of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignDesk>,
}

impl NextMatchup {
    /// Whether the rater has answered all that a session of the campaign has.
    #[must_use]
    pub fn session_is_done(&self) -> bool {
        self.campaign.as_ref().is_some_and(|campaign| campaign.answered >= i64::from(campaign.session))
    }
}

/// An answer of a rater in a campaign.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnVote {
    /// The pair.
    pub matchup: BlindMatchup,
    /// The rater's choice.
    pub choice: Choice,
    /// When it was cast.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// Name of the left image's model, once the campaign reveals it to this rater.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_model: Option<String>,
    /// Name of the right image's model, once the campaign reveals it to this rater.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right_model: Option<String>,
}

/// A matchup to create. Its sides are drawn at random.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
    "image_a": "019b76da-e6fb-774b-aacc-fd1996d32f15", "image_b": "019b76da-eecb-774b-a1e2-3ff318426710",
    "question": "overall"
})))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchupRequest {
    /// Id of an image.
    pub image_a: ImageId,
    /// Id of another image of the same prompt.
    pub image_b: ImageId,
    /// The question to ask.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = Question::default))]
    pub question: Question,
}

/// A vote to cast.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "choice": "left" })))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoteRequest {
    /// The rater's choice.
    pub choice: Choice,
    /// Names or ids of the models that the next matchup is restricted to; all models when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Whether the response names the models. A rater who learns them vote by vote learns what each model's images look
    /// like, and is no longer blind.
    #[serde(default, skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub reveal: bool,
}

/// What the matchup after a skip, or after an answer that is taken back, is restricted to.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({})))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeskRequest {
    /// Names or ids of the models that the next matchup is restricted to; all models when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Response to a vote: the next matchup.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VoteResponse {
    /// Id of the vote.
    pub vote_id: VoteId,
    /// The rater's choice.
    pub choice: Choice,
    /// Name of the left image's model, with its adapters, if the request asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_model: Option<String>,
    /// Name of the right image's model, with its adapters, if the request asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right_model: Option<String>,
    /// The rater's next matchup.
    pub next: NextMatchup,
}

/// Ratings by raters beside scores by metrics.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leaderboard {
    /// The question whose votes are counted.
    #[serde(default)]
    pub question: Question,
    /// The models, best first.
    pub rows: Vec<LeaderboardRow>,
    /// Number of votes.
    pub votes: i64,
    /// Number of raters who voted.
    pub raters: i64,
    /// What the ratings rest on; none without votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Ratings by category of prompts, of categories with 20 votes or more; the one with the most votes first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<CategoryRatings>,
}

/// A model of the leaderboard.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeaderboardRow {
    /// 1 + the number of models that are better at 95% confidence, however often one looks.
    pub rank: u32,
    /// Id of the model.
    pub model_id: ModelId,
    /// Name of the model, with the adapters of `lora` behind it: `shapes + winter:0.8`.
    pub model: String,
    /// LoRA adapters that the images were drawn with. A model with adapters is ranked by itself, beside the model without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lora: Vec<LoraUse>,
    /// The objective that it was trained with; none with adapters.
    pub objective: Option<String>,
    /// Rating from votes, each counted by its rater's reliability, with the 95% interval for one look; none without
    /// votes.
    pub rating: Option<Rating>,
    /// The same rating with the 95% interval that holds however often one looks; none while the rating is preliminary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anytime: Option<Rating>,
    /// The rating if every rater counted alike; none without votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating_all_alike: Option<f64>,
    /// The rating if answers about pairs with a known answer and repeated pairs did not count for reliability; none without such
    /// answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating_without_checks: Option<f64>,
    /// Win rate over all its votes; none without votes.
    pub win_rate: Option<WinRate>,
    /// Mean scores by metrics.
    pub scores: Vec<ModelScore>,
}

/// Win rates of pairs of models, and agreement among raters and between metrics and raters.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The question whose votes are counted.
    pub question: Question,
    /// Names of the models with votes, best rating first: the rows and columns of `win_rates`.
    pub models: Vec<String>,
    /// `win_rates[i][j]`: win rate of model i against model j; none without votes between them.
    pub win_rates: Vec<Vec<Option<WinRate>>>,
    /// Elo rating of each model. It depends on the order of the votes and has no interval.
    pub elo: Vec<f64>,
    /// Krippendorff's alpha of the answers about the same two images: 1 is full agreement, 0 is chance. None if no
    /// images were judged by two raters, or if all answers are equal.
    pub alpha: Option<f64>,
    /// Number of pairs of images that several raters judged.
    pub judged_by_several: i64,
    /// Agreement of each metric with the raters.
    pub metrics: Vec<MetricAgreement>,
    /// A blend of the metrics; none below 200 votes with a winner, or 10 prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blend: Option<ScorerBlend>,
    /// Pairs of images on which raters and a metric part most, by metric. Images by models that a campaign judges are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parted: Vec<PartedPair>,
}

/// Agreement of a metric with the raters.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricAgreement {
    /// The metric.
    pub metric: Metric,
    /// Votes on two images that both have a score.
    pub votes: i64,
    /// Share of these votes that the scores agree with; 1/2 where only the scores or only the rater find a tie.
    pub accuracy: Option<f64>,
    /// Models with a rating and a mean score.
    pub models: i64,
    /// Spearman's correlation of these ratings and scores; none for fewer than two models.
    pub rank_correlation: Option<f64>,
    /// By category of prompts, of categories with 20 votes or more; the one with the most votes first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<CategoryAccuracy>,
    /// The newest votes against those before; none below 100 votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<ScorerDrift>,
}
