//! What the ratings of a leaderboard rest on.

use serde::{Deserialize, Serialize};

/// Ties, sides, raters, and what the votes decide.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Whether there are fewer votes than `preliminary_below`, or fewer on some model than `preliminary_below_each`.
    pub is_preliminary: bool,
    /// Votes below which every rating is preliminary.
    pub preliminary_below: i64,
    /// Votes on each model below which they are.
    pub preliminary_below_each: i64,
    /// Expected share of ties among votes on two models of equal rating, from 0 to 1.
    pub tie_share: f64,
    /// Expected share of votes for the left image, of those for either, on two models of equal rating.
    pub left_share: Share,
    /// The raters, the least reliable first.
    pub raters: Vec<RaterEvidence>,
    /// The best model and the next, if two have votes.
    pub separation: Option<Separation>,
}

/// A share with its 95% interval, from 0 to 1.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The most likely share.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// A rater under a pseudonym.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RaterEvidence {
    /// A name made from the rater's id, from which the id cannot be found.
    pub pseudonym: String,
    /// Votes on the question.
    pub votes: i64,
    /// Expected share of the votes that follow the images rather than chance, from 0 to 1.
    pub reliability: f64,
    /// Whether the rater answers mostly at random, with a probability above 95%.
    pub is_careless: bool,
    /// Checks on the question that the rater answered in campaigns that are closed: pairs with a known answer, and repeated ones.
    #[serde(default)]
    pub checks: i64,
    /// Those answered as expected.
    #[serde(default)]
    pub checks_passed: i64,
    /// The reliability if checks did not count; none if no rater has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability_without_checks: Option<f64>,
}

/// Whether the votes tell the best model from the next.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Separation {
    /// Name of the model with the best rating.
    pub first: String,
    /// Name of the model with the next rating.
    pub second: String,
    /// Whether the interval of their difference for any number of looks leaves out 0.
    pub is_separated: bool,
    /// About how many votes more would separate them, with a probability of 80%; none if their ratings are too close to say.
    pub votes_more: Option<i64>,
    /// The number of the most influential votes without which their order is reversed; none if a third of all votes does
    /// not suffice.
    pub deciding_votes: Option<i64>,
}
