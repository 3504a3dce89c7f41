//! The forward pass with the kernels of FlashAttention 2 (Dao 2023), on GPUs in half precision.

use super::shape::AttentionShape;
use candle_core::{DType, Result, Tensor};

/// Whether the kernels support these queries: half precision on a GPU, and a head size that is a multiple of 8 and at
/// most 256.
pub(super) fn supports(q: &Tensor, shape: AttentionShape) -> bool {
    let half = matches!(q.dtype(), DType::F16 | DType::BF16);
    let size = q.dims().last().map_or(0, |width| width / shape.heads);
    q.device().is_cuda() && half && size.is_multiple_of(8) && size <= 256
}

pub(super) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, shape: AttentionShape) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let size = width / shape.heads;
    let split = |t: &Tensor| t.contiguous()?.reshape((batch, (), shape.heads, size));
    let scale = 1.0 / (size as f32).sqrt();
    candle_flash_attn::flash_attn(&split(q)?, &split(k)?, &split(v)?, scale, shape.causal)?
        .reshape((batch, queries, width))
}
