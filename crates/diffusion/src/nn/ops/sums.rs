//! Sums over rows, columns and planes: the gradients of biases. They are not differentiable themselves.

use crate::nn::dispatch::accumulation_dtype;
use crate::nn::gpu::availability::is_available;
use crate::nn::gpu::launch::{Launch, Number, WARP};
use candle_core::{D, DType, Result, Tensor};

/// The sum of each row by the GPU kernel, in `f32`: (rows, width) to (rows).
pub(super) fn sum_of_rows(x: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let [sums] = Launch::per_row("row_sums", rows, width, &[x])
        .run([(DType::F32, &[rows])], &[Number::Whole(width)])?;
    Ok(sums)
}

/// The fewest rows that a block of the GPU kernel adds up.
const MIN_ROWS: usize = 64;
/// The largest number of blocks of rows.
const MAX_BLOCKS: usize = 256;

/// The sum over rows, in `f32` at least: (rows, width) to (width).
pub(in crate::nn) fn sum_over_rows(x: &Tensor) -> Result<Tensor> {
    if !is_available(&[x]) {
        return x.to_dtype(accumulation_dtype(x.dtype()))?.sum(0);
    }
    let mut sums = x.clone();
    loop {
        let (rows, width) = sums.dims2()?;
        let rows_per_block = rows.div_ceil(MAX_BLOCKS).max(MIN_ROWS);
        let blocks = rows.div_ceil(rows_per_block);
        [sums] = Launch::per_tile("column_sums", width.div_ceil(WARP) * blocks, &[&sums]).run(
            [(DType::F32, &[blocks, width])],
            &[Number::Whole(rows), Number::Whole(width), Number::Whole(rows_per_block)],
        )?;
        if blocks == 1 {
            return sums.reshape(width);
        }
    }
}

/// The sum of each plane, in `f32` at least: (batch, channels, ..) to (batch, channels).
pub(super) fn sum_of_planes(x: &Tensor) -> Result<Tensor> {
    let (batch, channels) = (x.dim(0)?, x.dim(1)?);
    let planes = x.reshape((batch * channels, ()))?;
    if is_available(&[x]) {
        sum_of_rows(&planes)?
    } else {
        planes.to_dtype(accumulation_dtype(x.dtype()))?.sum(D::Minus1)?
    }
    .reshape((batch, channels))
}

/// The sum over images and pixels, in `f32` at least: (batch, channels, ..) to (channels).
pub(in crate::nn) fn sum_over_planes(x: &Tensor) -> Result<Tensor> {
    sum_over_rows(&sum_of_planes(x)?)
}
