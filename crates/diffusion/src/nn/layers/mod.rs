//! Layers.

pub(super) mod frozen_convolution;
pub(super) mod linear;
pub(super) mod low_rank;
