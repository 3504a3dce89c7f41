//! Group normalisation (Wu and He 2018), with a following SiLU fused in.

mod composed;
mod cpu;
mod gpu;
mod shape;

pub use shape::GroupNormShape;

use crate::nn::composed::apply;
use crate::nn::dispatch::has_cpu_kernel;
use candle_core::{Result, Tensor, bail};

/// `x`: (batch, channels, ..); `weight`, `bias`: (channels).
///
/// # Errors
/// Fails if the groups do not divide the channels, or `weight` or `bias` has another shape.
pub fn group_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, shape: GroupNormShape) -> Result<Tensor> {
    let x = x.contiguous()?;
    let channels = x.dim(1)?;
    if shape.groups == 0
        || channels % shape.groups != 0
        || weight.dims() != [channels]
        || bias.dims() != [channels]
    {
        bail!(
            "group norm: shapes do not fit: {channels} channels, {} groups, weight {:?}, bias {:?}",
            shape.groups,
            weight.dims(),
            bias.dims()
        );
    }
    if !has_cpu_kernel(&x) {
        return apply(shape, &[&x, weight, bias]);
    }
    x.apply_op3(weight, bias, shape)
}
