//! Exchange of two dimensions in front of a contiguous one, as between positions and heads of attention.

use crate::nn::gpu::availability::is_available;
use crate::nn::gpu::launch::{Launch, Number};
use candle_core::{Result, Tensor, bail};

/// (.., a, b, c) to (.., b, a, c), contiguous. Not differentiable: for the passes of composed operations.
pub(in crate::nn) fn exchange(x: &Tensor) -> Result<Tensor> {
    let rank = x.rank();
    let mut dims = x.dims().to_vec();
    dims.swap(rank - 3, rank - 2);
    if !is_available(&[x]) {
        return x.transpose(rank - 3, rank - 2)?.contiguous();
    }
    let [.., a, b, c] = *x.dims() else { bail!("exchange: {:?} has fewer than three dimensions", x.dims()) };
    let rows = x.elem_count() / c;
    let [y] = Launch::warp_per_row("exchange", rows, &[x]).run(
        [(x.dtype(), &dims)],
        &[Number::Whole(rows), Number::Whole(a), Number::Whole(b), Number::Whole(c)],
    )?;
    Ok(y)
}
