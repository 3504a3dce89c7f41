//! Sums of squares, for gradient norms.

use super::sums::sum_of_rows;
use crate::nn::cpu::simd::{sum, vectorized};
use crate::nn::cpu::slices;
use crate::nn::dispatch::has_cpu_kernel;
use crate::nn::gpu::availability::is_available;
use crate::nn::gpu::launch::{Launch, Number};
use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

/// The sum of the squares of all values of each tensor. Synchronises with the device once, not once per tensor.
///
/// # Errors
/// Fails if the tensors are on several devices other than the CPU.
pub fn squared_sums<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<Vec<f64>> {
    let (mut sums, mut on_device, mut pending) = (Vec::new(), Vec::new(), Vec::new());
    for (i, x) in tensors.into_iter().enumerate() {
        if has_cpu_kernel(x) {
            sums.push(slices::with(&x.contiguous()?, squared_sum)?);
        } else {
            sums.push(0.0);
            on_device.push(squared_sum_on_device(x)?);
            pending.push(i);
        }
    }
    if !pending.is_empty() {
        let found = Tensor::cat(&on_device, 0)?.to_vec1::<f32>()?;
        pending.into_iter().zip(found).for_each(|(i, found)| sums[i] = f64::from(found));
    }
    Ok(sums)
}

/// Chunks are summed in `f32` and added in `f64`.
fn squared_sum(values: &[f32]) -> f64 {
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
}

/// The sum of squares in `f32`, of shape (1), on the tensor's device.
fn squared_sum_on_device(x: &Tensor) -> Result<Tensor> {
    if !is_available(&[x]) {
        return x.to_dtype(DType::F32)?.sqr()?.sum_all()?.reshape(1);
    }
    let operands = [x];
    let launch = Launch::per_value("square_sums", x.elem_count(), &operands);
    let blocks = launch.blocks();
    let [shares] = launch.run([(DType::F32, &[blocks])], &[Number::Whole(x.elem_count())])?;
    sum_of_rows(&shares.reshape((1, blocks))?)
}
