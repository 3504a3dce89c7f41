//! Layers: parameters under diffusers' names, and the operations on them.

pub(super) mod conv2d;
pub(super) mod embedding;
pub(super) mod frozen_convolution;
pub(super) mod frozen_linear;
pub(super) mod linear;
pub(super) mod low_rank;
pub(super) mod norm;
