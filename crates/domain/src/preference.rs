//! People's judgement: two images, a choice.

use crate::Timestamp;
use crate::id::{ImageId, MatchupId, RaterId, VoteId};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What raters are asked of two images of a prompt: the three questions of Diffusion-DPO's study of people (its
/// section 5.1), in our words. Answers to different questions are never counted together.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Which is better for the prompt, all in all.
    #[default]
    Overall,
    /// Which looks better, whatever the prompt is.
    Appeal,
    /// Which fits the prompt better, however it looks.
    Alignment,
}

impl Question {
    /// All questions.
    pub const ALL: [Self; 3] = [Self::Overall, Self::Appeal, Self::Alignment];

    /// The word in bodies, queries and columns.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overall => "overall",
            Self::Appeal => "appeal",
            Self::Alignment => "alignment",
        }
    }

    /// In a word or two.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Overall => "Overall",
            Self::Appeal => "Visual appeal",
            Self::Alignment => "Prompt alignment",
        }
    }

    /// As raters read it, above the prompt.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Overall => "Which image shows this better?",
            Self::Appeal => "Whatever it was to show: which image looks better?",
            Self::Alignment => "However it looks: which image keeps closer to these words?",
        }
    }
}

impl FromStr for Question {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|x| x.as_str() == s)
            .ok_or_else(|| format!("{s:?} is no question: use overall, appeal or alignment"))
    }
}

/// Two images of one prompt, left and right fixed when it is made.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Matchup {
    /// Its id.
    pub id: MatchupId,
    /// The prompt of both.
    pub prompt: String,
    /// What is asked of them.
    pub question: Question,
    /// The image on the left.
    pub left: ImageId,
    /// The image on the right.
    pub right: ImageId,
    /// The rater it was drawn for; none if anybody may judge it.
    pub rater_id: Option<RaterId>,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}

/// A rater's answer.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The left image is better.
    Left,
    /// The right image is better.
    Right,
    /// Neither is better.
    Tie,
    /// Neither is any good.
    BothBad,
}

impl Choice {
    /// All choices.
    pub const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Tie, Self::BothBad];

    /// The word in bodies and columns.
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
            .ok_or_else(|| format!("{s:?} is no choice: use left, right, tie or both_bad"))
    }
}

/// A rater's answer to a matchup: one per rater and matchup.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// Its id.
    pub id: VoteId,
    /// What was judged.
    pub matchup_id: MatchupId,
    /// By whom.
    pub rater_id: RaterId,
    /// The answer.
    pub choice: Choice,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}

/// An image that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedImage {
    /// Its id.
    pub id: ImageId,
    /// Where its bytes lie.
    pub artifact: String,
    /// Name of the model that made it.
    pub model: String,
}

/// A vote with what it was cast on: what becomes a preference pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedVote {
    /// The prompt of both images.
    pub prompt: String,
    /// What was asked.
    pub question: Question,
    /// Left and right.
    pub images: [JudgedImage; 2],
    /// The answer.
    pub choice: Choice,
    /// By whom.
    pub rater_id: RaterId,
    /// When.
    pub created_at: Timestamp,
}
