//! Bodies and paths of the HTTP API, shared by the server and the pages. One file per tag of the OpenAPI document; the comparisons and campaigns of the tag `judging` have their own.

mod campaign;
mod comparison;
mod data;
mod drafts;
mod error;
mod evaluation;
mod events;
mod evidence;
mod generation;
mod judging;
mod models;
pub mod path;
mod runs;
mod scorers;
mod series;
mod settings;
mod training;

pub use campaign::{
    CampaignCreated, CampaignDesk, CampaignItem, CampaignRater, CampaignResult, CampaignStateRequest,
    CampaignSummary, ConsentRequest, DeskRanking, DeskVote, GoldCandidate, Invitation, InvitationCreated,
    InvitationRequest,
};
pub use comparison::{Comparison, ComparisonRequest, Drawing};
pub use data::{DataCheckRequest, DataCheckResponse, DatasetPair, DatasetPairs, DatasetSummary};
pub use drafts::{FieldGroup, FieldKind, FormField, RunDraft, RunDraftRequest};
pub use error::{ErrorBody, ErrorDetail};
pub use evaluation::{EvaluatedModel, EvaluationDetail};
pub use events::{Changes, EventCursor};
pub use evidence::{Evidence, RaterEvidence, Separation, Share};
pub use generation::{CutText, GenerateRequest, GenerateResponse, GeneratedImage, GenerationProgress};
pub use judging::{
    Agreement, BlindMatchup, DeskRequest, Leaderboard, LeaderboardRow, MatchupRequest, MetricAgreement,
    NextMatchup, OwnVote, VoteRequest, VoteResponse,
};
pub use models::{ModelDeletion, ModelDetail, ModelFile, ModelLink, ModelRecord, Overview};
pub use runs::{
    JobChange, RunChange, RunChoices, RunColumn, RunDeletion, RunResumption, RunSort, RunValue, is_tag,
};
pub use scorers::{
    BlendWeight, CalibrationGroup, CategoryAccuracy, CategoryRating, CategoryRatings, PartedPair,
    ScorerBlend, ScorerDrift,
};
pub use series::{RunLineage, RunSeries, ScoreAgainstBase, Series};
pub use settings::ServerSettings;
pub use training::{
    JobAccepted, ModelSummary, RunDetail, RunMetrics, RunPage, RunResumed, RunSample, RunSummary,
    StudyAccepted,
};

// Types of other modules that are bodies, or parts of them.
pub use crate::evaluate::ModelScore;
pub use crate::preference::VoteRecord;
pub use crate::ranking::{Rating, WinRate};
pub use path::{campaign_desk_page, campaign_page, judge_page, model_page, report_url, run_page};

use serde::{Deserialize, Serialize};

/// One page of a list, newest first.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
}
