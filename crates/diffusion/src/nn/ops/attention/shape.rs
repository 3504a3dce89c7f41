//! The settings of an attention operation.

/// The number of heads and the mask of an attention operation.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Heads; must divide the width.
    pub heads: usize,
    /// Whether a query attends only to keys up to its own position, as in text encoders.
    pub causal: bool,
}
