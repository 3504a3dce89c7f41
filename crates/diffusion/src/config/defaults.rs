//! Default values that several configs share, as functions for serde.

use crate::nn::Activation;

pub(super) fn yes() -> bool {
    true
}

pub(super) fn one() -> usize {
    1
}

pub(super) fn two() -> usize {
    2
}

pub(super) fn three() -> usize {
    3
}

pub(super) fn four() -> usize {
    4
}

pub(super) fn thirty_two() -> usize {
    32
}

/// Epsilon of a norm.
pub(super) fn norm_eps() -> f64 {
    1e-5
}

/// The activation of CLIP's towers.
pub(super) fn quick_gelu() -> Activation {
    Activation::QuickGelu
}
