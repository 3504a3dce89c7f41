//! Differentiable operations and the layers made of them.
//!
//! candle's stock operations either have no backward (its fused softmax and layer norm detach silently) or
//! are several times slower than PyTorch in a training step on a CPU. These carry both passes. On another
//! device, or in another type than f32, each is composed of candle's operations, both passes again (`composed`), with
//! sums taken in f32, or in f64 where the values are f64; on a GPU, kernels of ours (`kernels`) take the place of what
//! goes over memory again and again.
//!
//! Every backward pass is deterministic and independent of the number of threads: work is split over outputs,
//! never over the terms of a sum, so that a resumed run repeats an undisturbed one bit for bit.

mod composed;
mod cpu;
#[path = "gpu/mod.rs"]
mod kernels;
mod layers;
mod ops;

pub use kernels::{adamw, allow as allow_kernels, serve as kernels_serve};
pub use layers::frozen_convolution::FrozenConvolution;
pub use layers::linear::{Conv2d, Embedding, GroupNorm, LayerNorm, Linear};
pub use layers::low_rank::{Factor, LowRank, Misfit};
pub use ops::activation::{Activation, geglu};
pub use ops::attention::{AttentionShape, attention};
pub use ops::convolution::{ConvolutionShape, conv2d, convolve};
pub use ops::group_norm::{GroupNormShape, group_norm};
pub use ops::layer_norm::layer_norm;
pub use ops::linear::{FrozenLinear, linear};
pub use ops::residual::residual;
pub use ops::sums::{shift, squared_sums};
pub use ops::transpose::transpose;
pub use ops::upsample::upsample_nearest;

use candle_core::{DType, Tensor};

/// The type in which sums of values of this type are taken: f32 at least.
fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// Whether our own kernels apply: f32 on the CPU.
fn has_own_kernel(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}
