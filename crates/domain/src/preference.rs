//! Matchups and votes: two images of a prompt, and a rater's choice between them.

use crate::Timestamp;
use crate::id::{ImageId, MatchupId, RaterId, VoteId};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The question that raters answer about two images of a prompt: one of the three of Diffusion-DPO's user study (its
/// section 5.1). Answers to different questions are never counted together.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Which image is better, all in all.
    #[default]
    Overall,
    /// Which image looks better, regardless of the prompt.
    Appeal,
    /// Which image fits the prompt better, regardless of its looks.
    Alignment,
}

impl Question {
    /// All questions, in the order of menus.
    pub const ALL: [Self; 3] = [Self::Overall, Self::Appeal, Self::Alignment];

    /// The value in bodies, queries and columns.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overall => "overall",
            Self::Appeal => "appeal",
            Self::Alignment => "alignment",
        }
    }

    /// The short name on pages.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Overall => "Overall",
            Self::Appeal => "Visual appeal",
            Self::Alignment => "Prompt alignment",
        }
    }

    /// The full question, shown to raters above the prompt.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Overall => "Which image is better for this prompt?",
            Self::Appeal => "Regardless of the prompt, which image looks better?",
            Self::Alignment => "Regardless of its looks, which image fits the prompt better?",
        }
    }

    /// The same question about more than two images.
    #[must_use]
    pub fn text_of_set(self) -> &'static str {
        match self {
            Self::Overall => "Which image is the best for this prompt?",
            Self::Appeal => "Regardless of the prompt, which image looks best?",
            Self::Alignment => "Regardless of its looks, which image fits the prompt best?",
        }
    }
}

impl FromStr for Question {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|x| x.as_str() == s)
            .ok_or_else(|| format!("{s:?} is not a question: use overall, appeal or alignment"))
    }
}

/// Two images of one prompt, by two models or by one. Which one is on the left is decided when the matchup is made.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Matchup {
    /// Id of the matchup.
    pub id: MatchupId,
    /// The prompt of both images.
    pub prompt: String,
    /// The question to answer.
    pub question: Question,
    /// The image on the left.
    pub left: ImageId,
    /// The image on the right.
    pub right: ImageId,
    /// The only rater who may judge it; any rater may if none. A rater who has not voted has no row yet.
    pub rater_id: Option<RaterId>,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}

/// A rater's choice between the images of a matchup.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The left image is better.
    Left,
    /// The right image is better.
    Right,
    /// Both are equally good.
    Tie,
    /// Both are bad. Ratings and win rates count it as a tie.
    BothBad,
}

impl Choice {
    /// All choices, in the order of the judging page.
    pub const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Tie, Self::BothBad];

    /// The value in bodies and columns.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
            Self::Tie => "tie",
            Self::BothBad => "both_bad",
        }
    }
}

impl FromStr for Choice {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|x| x.as_str() == s)
            .ok_or_else(|| format!("{s:?} is not a choice: use left, right, tie or both_bad"))
    }
}

/// A rater's vote on a matchup. Each rater votes on a matchup once.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// Id of the vote.
    pub id: VoteId,
    /// The matchup.
    pub matchup_id: MatchupId,
    /// The rater.
    pub rater_id: RaterId,
    /// The rater's choice.
    pub choice: Choice,
    /// When it was cast.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}

/// A vote in a list, with the names of the models.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VoteRecord {
    /// Id of the vote.
    pub id: VoteId,
    /// The matchup.
    pub matchup_id: MatchupId,
    /// The prompt of both images.
    pub prompt: String,
    /// The question that was asked.
    #[serde(default)]
    pub question: Question,
    /// Name of the left image's model, with its adapters.
    pub left_model: String,
    /// Name of the right image's model, with its adapters.
    pub right_model: String,
    /// The rater's choice.
    pub choice: Choice,
    /// When it was cast.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}

/// An image of a matchup that was voted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedImage {
    /// Id of the image.
    pub id: ImageId,
    /// Key of its PNG in the artifact store.
    pub artifact: String,
    /// Name of the model that generated it, with its adapters.
    pub model: String,
}

/// A vote with its images: what a preference pair is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedVote {
    /// The prompt of both images.
    pub prompt: String,
    /// The question that was asked.
    pub question: Question,
    /// The left and the right image.
    pub images: [JudgedImage; 2],
    /// The rater's choice.
    pub choice: Choice,
    /// The rater.
    pub rater_id: RaterId,
    /// When it was cast.
    pub created_at: Timestamp,
}
