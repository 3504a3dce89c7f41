//! How examples are dealt in micro-batches.

use serde::{Deserialize, Serialize};

/// Which examples share a micro-batch.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batching {
    /// Examples at random.
    #[default]
    Shuffled,
    /// A random example, and those whose prompts have the most words in common with its prompt. Diff-contrast then contrasts
    /// each winner with losers of the same or similar prompts.
    RelatedPrompts,
}
