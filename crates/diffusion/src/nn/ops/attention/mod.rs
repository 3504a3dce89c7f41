//! Scaled dot-product attention. No implementation keeps the matrix of probabilities: the backward pass recomputes it.

mod composed;
mod cpu;
#[cfg(feature = "flash-attn")]
mod flash;
mod shape;

pub use shape::AttentionShape;

use crate::nn::composed::apply;
use crate::nn::dispatch::has_cpu_kernel;
use candle_core::{Result, Tensor, bail};

/// `q`: (batch, queries, width); `k`, `v`: (batch, keys, width), with the heads side by side in the width.
/// Returns (batch, queries, width).
///
/// # Errors
/// Fails if the shapes differ, the heads do not divide the width, or causal attention has unequal numbers of queries and
/// keys.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, shape: AttentionShape) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let (k_batch, keys, k_width) = k.dims3()?;
    if k.dims() != v.dims() || batch != k_batch || width != k_width || width % shape.heads.max(1) != 0 {
        bail!(
            "attention: shapes do not fit: {} heads, q {:?}, k {:?}, v {:?}",
            shape.heads,
            q.dims(),
            k.dims(),
            v.dims()
        );
    }
    if shape.causal && queries != keys {
        bail!("attention: causal attention needs as many queries as keys, not {queries} and {keys}");
    }
    if !has_cpu_kernel(q) {
        return apply(shape, &[q, k, v]);
    }
    q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, shape)
}
