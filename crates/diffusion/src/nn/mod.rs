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

mod activation;
mod attention;
mod composed;
mod convolution;
mod disjoint;
mod frozen;
mod group_norm;
mod kernels;
mod layer_norm;
mod layers;
mod linear;
mod low_rank;
mod matmul;
mod narrow;
mod residual;
mod scratch;
mod slices;
mod sums;
mod transpose;
mod upsample;
mod vector;

pub use activation::{Activation, geglu};
pub use attention::{AttentionShape, attention};
pub use convolution::{ConvolutionShape, conv2d, convolve};
pub use frozen::FrozenConvolution;
pub use group_norm::{GroupNormShape, group_norm};
pub use kernels::{adamw, allow as allow_kernels, serve as kernels_serve};
pub use layer_norm::layer_norm;
pub use layers::{Conv2d, Embedding, GroupNorm, LayerNorm, Linear};
pub use linear::{FrozenLinear, linear};
pub use low_rank::{Factor, LowRank, Misfit};
pub use residual::residual;
pub use sums::{shift, squared_sums};
pub use transpose::transpose;
pub use upsample::upsample_nearest;

use candle_core::{DType, Tensor};

/// The type in which sums of values of this type are taken: f32 at least.
fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// Whether our own kernels apply: f32 on the CPU.
fn has_own_kernel(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}
