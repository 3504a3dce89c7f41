//! The length of a tensor.

use super::vector::{sum, vectorized};
use super::{has_own_kernel, slices};
use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

/// Sum of the squares of all values, in f64.
///
/// # Errors
/// candle's.
pub fn squared_sum(x: &Tensor) -> Result<f64> {
    let x = x.contiguous()?;
    if !has_own_kernel(&x) {
        return x.to_dtype(DType::F32)?.sqr()?.sum_all()?.to_scalar::<f32>().map(f64::from);
    }
    slices::with(&x, |values| {
        let parts: Vec<f64> = values
            .par_chunks(1 << 14)
            .map(|chunk| {
                f64::from(vectorized(
                    #[inline(always)]
                    || sum(chunk.len(), |i| chunk[i] * chunk[i]),
                ))
            })
            .collect();
        parts.iter().sum()
    })
}
