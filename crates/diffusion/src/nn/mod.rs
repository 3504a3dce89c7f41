//! Neural-network operations with gradients, and the layers built from them.
//!
//! candle's stock operations either have no backward pass (its fused softmax and layer norm detach silently) or are
//! several times slower than PyTorch in a training step on a CPU. The operations here implement both passes, up to three
//! times:
//!
//! - `f32` on the CPU runs our own vectorised kernels, built on `cpu`;
//! - every other device and type runs a composition of candle operations with a composed backward pass ([`composed`]);
//!   sums are accumulated in `f32`, or in `f64` for `f64` values;
//! - on a GPU, kernels in [`gpu`] replace the memory-bound parts of the compositions.
//!
//! Every backward pass is deterministic and independent of the number of threads: work is split over outputs, never over
//! the terms of a sum, so a resumed run has the same bits as an uninterrupted one.

mod composed;
mod cpu;
mod dispatch;
mod gpu;
mod layers;
mod ops;

pub use gpu::adamw::adamw;
pub use gpu::availability::{enable as enable_gpu_kernels, is_available as gpu_kernels_available};
pub use layers::conv2d::Conv2d;
pub use layers::embedding::Embedding;
pub use layers::frozen_convolution::FrozenConvolution;
pub use layers::frozen_linear::FrozenLinear;
pub use layers::linear::Linear;
pub use layers::low_rank::{Factor, FactorError, LowRank};
pub use layers::norm::{GroupNorm, LayerNorm};
pub use ops::activation::Activation;
pub use ops::add_channelwise::add_channelwise;
pub use ops::attention::{AttentionShape, attention};
pub use ops::convolution::{ConvolutionShape, conv2d, convolve};
pub use ops::geglu::geglu;
pub use ops::group_norm::{GroupNormShape, group_norm};
pub use ops::layer_norm::layer_norm;
pub use ops::linear::linear;
pub use ops::residual::residual;
pub use ops::squared_sums::squared_sums;
pub use ops::transpose::transpose;
pub use ops::upsample::upsample_nearest;
