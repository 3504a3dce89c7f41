//! The settings of a group normalisation.

/// The groups of a group normalisation, and the activation fused into it.
#[derive(Clone, Copy, Debug)]
pub struct GroupNormShape {
    /// Groups; must divide the channels.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether SiLU follows.
    pub silu: bool,
}
