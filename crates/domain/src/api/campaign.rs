//! Campaigns, their desks, and invitations to them.

use crate::Timestamp;
use crate::campaign::{Campaign, CampaignState};
use crate::id::{CampaignId, ImageId, InvitationId};
use crate::pace::Pace;
use crate::preference::{Choice, Question};
use crate::ranking::WinRate;
use serde::{Deserialize, Serialize};

/// A new campaign, with the key that only this response tells.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CampaignCreated {
    /// The campaign as it was stored, open.
    pub campaign: Campaign,
    /// Shows what is withheld from everybody else while the campaign is not closed. It is not stored: keep it.
    pub owner_key: String,
    /// Address of the owner's page. It contains the key.
    pub owner_url: String,
    /// Address of the desk, for raters who have access to this site.
    pub judge_url: String,
}

/// A campaign and how far it is.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CampaignSummary {
    /// The campaign. Pairs with a known answer and the completion code are told to its owner only.
    pub campaign: Campaign,
    /// Votes that count.
    pub votes: i64,
    /// Votes that it needs: items times raters per item, or the number of votes that ends it, if that is smaller.
    pub wanted: i64,
    /// Items: questions about pairs of images.
    pub items: i64,
    /// Raters who have voted.
    pub raters: i64,
    /// Win rates of each pair of models. While the campaign is not closed, only its owner gets them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<CampaignResult>,
    /// What its raters have done; for its owner only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<CampaignRater>,
    /// Answers per hour, or per day or week of a long campaign, checks left out; for its owner, and for all when it is closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pace: Vec<Pace>,
    /// Invitations to its desk; for its owner only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invitations: Vec<Invitation>,
}

/// The votes of a campaign on two models.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CampaignResult {
    /// The question that was asked.
    pub question: Question,
    /// Name of a model.
    pub model: String,
    /// Name of the model that it is compared with.
    pub against: String,
    /// Votes for `model`.
    pub wins: i64,
    /// Votes for `against`.
    pub losses: i64,
    /// Votes "tie".
    pub ties: i64,
    /// Votes "both bad".
    pub both_bad: i64,
    /// Win rate of `model`; ties and "both bad" are half a win.
    pub win_rate: Option<WinRate>,
}

/// What a rater has done in a campaign.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CampaignRater {
    /// A name that stands for the rater in this campaign and tells nothing else.
    pub pseudonym: String,
    /// What the panel that sent the rater calls them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Votes that count.
    pub votes: i64,
    /// Pairs of the exam answered as expected.
    pub exam_right: u32,
    /// Pairs of the exam answered.
    pub exam_answered: u32,
    /// Later pairs with a known answer that were answered as expected.
    pub gold_right: u32,
    /// Later pairs with a known answer that were answered.
    pub gold_answered: u32,
    /// Repeated pairs that were answered as the first time.
    pub repeats_same: u32,
    /// Repeated pairs that were answered.
    pub repeats_answered: u32,
    /// Answers for the left image, checks included. Sides are drawn at random: without a position bias there are as many for the
    /// right one.
    #[serde(default)]
    pub left: u32,
    /// Answers for the right image.
    #[serde(default)]
    pub right: u32,
    /// Median of the seconds between two answers, without breaks of two minutes and more; none without two answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// Two images that raters of a campaign have judged, and how they split.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CampaignItem {
    /// The question that was asked.
    pub question: Question,
    /// The prompt of both images.
    pub prompt: String,
    /// An image.
    pub image: ImageId,
    /// The name of its model.
    pub model: String,
    /// The other image.
    pub against_image: ImageId,
    /// The name of its model.
    pub against: String,
    /// Votes for `image`.
    pub wins: u32,
    /// Votes for `against_image`.
    pub losses: u32,
    /// Votes "tie".
    pub ties: u32,
    /// Votes "both bad".
    pub both_bad: u32,
    /// The probability that two of the votes, drawn at random, differ; ties and "both bad" are one answer.
    pub dispute: f64,
}

/// The state that a campaign is to have.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "state": "paused" })))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CampaignStateRequest {
    /// `open`, `paused`, or `closed`, which is final.
    pub state: CampaignState,
}

/// The campaign of a desk, as its rater sees it: nothing of its models.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CampaignDesk {
    /// Id of the campaign.
    pub id: CampaignId,
    /// Name of the campaign.
    pub name: String,
    /// Whether it takes answers.
    pub state: CampaignState,
    /// What raters read before the first pair.
    pub instructions: String,
    /// Language of the prompts, as a tag of BCP 47.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Whether the rater has read them and agreed to take part.
    pub has_agreed: bool,
    /// Answers of the rater that count towards the session.
    pub answered: i64,
    /// Answers of a session.
    pub session: u32,
    /// Pairs of the exam that are left; 0 when it is over, or if there is none.
    pub exam_left: u32,
    /// Whether the rater has passed the exam; none while it is not decided.
    pub passed: Option<bool>,
    /// What the rater enters at the panel that sent them; told when the session is done, or the exam is failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_code: Option<String>,
    /// Where the rater goes then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
    /// What a rater who does not agree, or stops, enters at the panel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_code: Option<String>,
    /// Where such a rater goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_url: Option<String>,
    /// The name that stands for the rater in this campaign.
    pub pseudonym: String,
}

/// A rater's agreement to take part.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "external_id": "5f2b" })))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentRequest {
    /// What the panel that sent the rater calls them, such as Prolific's `PROLIFIC_PID`; at most 100 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// A vote at a campaign's desk.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "choice": "right" })))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeskVote {
    /// The rater's choice.
    pub choice: Choice,
}

/// The best image of a set at a campaign's desk, or an order of several.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "order": [2, 4, 1, 3] })))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeskRanking {
    /// Numbers of images from 1, the best first: one, or more, up to all. Images left out come after those named, in no order.
    pub order: Vec<u8>,
}

/// Two comparable images that could become a pair with a known answer.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoldCandidate {
    /// The prompt of both.
    pub prompt: String,
    /// The image that the metric prefers.
    pub better: ImageId,
    /// The other one.
    pub worse: ImageId,
    /// How much higher the better image scores.
    pub difference: f64,
}

/// An invitation to make.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "label": "panel A", "ends_at": "2030-01-31T00:00:00Z" })))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvitationRequest {
    /// Whom it is for; at most 100 bytes.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = ""))]
    pub label: String,
    /// When it ends; with the campaign if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub ends_at: Option<Timestamp>,
}

/// A link that opens a campaign's desk.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invitation {
    /// Id of the invitation.
    pub id: InvitationId,
    /// Whom it is for.
    pub label: String,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// From when on it opens nothing; none: until the campaign is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub ends_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub revoked_at: Option<Timestamp>,
}

/// A new invitation, with the link that only this response tells.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InvitationCreated {
    /// The invitation as lists show it.
    pub invitation: Invitation,
    /// Path of the link, to be put behind the address of this site. Whoever has it can judge in this campaign.
    pub path: String,
}
