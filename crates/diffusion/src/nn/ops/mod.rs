//! Operations with gradients.

pub(super) mod activation;
#[path = "attention/cpu.rs"]
pub(super) mod attention;
#[path = "convolution/cpu.rs"]
pub(super) mod convolution;
#[path = "group_norm/cpu.rs"]
pub(super) mod group_norm;
pub(super) mod layer_norm;
pub(super) mod linear;
pub(super) mod residual;
pub(super) mod sums;
pub(super) mod transpose;
pub(super) mod upsample;

use super::cpu::{disjoint, matmul, panels, scratch, simd, slices};
use super::{composed, has_own_kernel, kernels, wide};
