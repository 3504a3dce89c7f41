//! What a run holds in memory, and what it computes again instead.

use serde::{Deserialize, Serialize};

/// Ways to train in less memory, for time. They change no gradient but, where said, its last digits.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySpec {
    /// Computes the errors of a micro-batch without a graph first, then holds the graph of one image at a time: one
    /// more forward pass. Gradients differ by rounding, since images are added up one by one.
    pub two_pass: bool,
    /// Keeps of a graph what enters each block, and runs a block again when the way back comes to it: one more forward
    /// pass, the same gradients to the last bit.
    pub checkpoint_activations: bool,
}

impl MemorySpec {
    /// Whether everything is held.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}
