//! Transposition of the last two dimensions, as between channels-first and channels-last values.

use crate::nn::composed::{self, Composed};
use crate::nn::cpu::slices;
use crate::nn::dispatch::has_cpu_kernel;
use crate::nn::gpu::availability::is_available;
use crate::nn::gpu::launch::{Launch, Number, WARP};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// `x`: (batch, m, n). Returns (batch, n, m), contiguous. Runs on all threads; candle copies on one.
///
/// # Errors
/// Fails if `x` does not have three dimensions.
pub fn transpose(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    x.dims3()?;
    if has_cpu_kernel(&x) { x.apply_op1(Transpose) } else { composed::apply(Transpose, &[&x]) }
}

/// The operation behind [`transpose`].
pub(in crate::nn) struct Transpose;

impl Composed for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        let x = &operands[0];
        let (batch, m, n) = x.dims3()?;
        if !is_available(&[x]) {
            return x.transpose(1, 2)?.contiguous();
        }
        let tiles = batch * m.div_ceil(WARP) * n.div_ceil(WARP);
        let [y] = Launch::per_tile("transpose", tiles, &[x])
            .run([(x.dtype(), &[batch, n, m])], &[Number::Whole(m), Number::Whole(n)])?;
        Ok(y)
    }

    fn backward(
        &self,
        _operands: &[Tensor],
        _y: &Tensor,
        gradient: &Tensor,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(self.forward(std::slice::from_ref(gradient))?)])
    }
}

/// Side of the square blocks that are transposed at a time: the `f32` values of a cache line.
const SIDE: usize = 16;

fn transposed(x: &[f32], m: usize, n: usize) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(m * n).zip(x.par_chunks(m * n)).for_each(|(y, x)| {
        y.par_chunks_mut(SIDE * m).enumerate().for_each(|(block, y)| {
            let first = block * SIDE;
            for from in (0..m).step_by(SIDE) {
                for (j, y) in y.chunks_exact_mut(m).enumerate() {
                    for i in from..(from + SIDE).min(m) {
                        y[i] = x[i * n + first + j];
                    }
                }
            }
        });
    });
    y
}

impl CustomOp1 for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, m, n) = layout.shape().dims3()?;
        Ok((CpuStorage::F32(transposed(slices::of_storage(x, layout)?, m, n)), (batch, n, m).into()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        transpose(gradient).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::transpose;
    use candle_core::{Device, Tensor};

    #[test]
    fn the_result_equals_candles() {
        for (m, n) in [(1, 1), (3, 5), (16, 16), (17, 40), (40, 33)] {
            let x = Tensor::arange(0f32, (2 * m * n) as f32, &Device::Cpu).expect("numbers");
            let x = x.reshape((2, m, n)).expect("three dimensions");
            let values = |t: Tensor| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values");
            let expected = x.transpose(1, 2).and_then(|t| t.contiguous()).expect("transposed");
            let ours = transpose(&x).expect("transposed");
            assert_eq!(ours.dims(), expected.dims());
            assert_eq!(values(ours), values(expected));
        }
    }
}
