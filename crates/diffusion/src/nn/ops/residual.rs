//! The residual connection of a block.

use crate::nn::cpu::slices;
use crate::nn::dispatch::has_cpu_kernel;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// `x + h`, on all threads. candle adds two tensors on one thread.
///
/// # Errors
/// Fails if the shapes differ.
pub fn residual(x: &Tensor, h: &Tensor) -> Result<Tensor> {
    if x.dims() == h.dims() && has_cpu_kernel(x) && has_cpu_kernel(h) {
        x.contiguous()?.apply_op2(&h.contiguous()?, Residual)
    } else {
        x + h
    }
}

/// The CPU kernel of [`residual`].
struct Residual;

/// Values per parallel task.
const CHUNK: usize = 1 << 14;

impl CustomOp2 for Residual {
    fn name(&self) -> &'static str {
        "residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        h: &CpuStorage,
        h_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, h) = (slices::of_storage(x, x_layout)?, slices::of_storage(h, h_layout)?);
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).zip(h.par_chunks(CHUNK)).for_each(|((y, x), h)| {
            y.iter_mut().zip(x).zip(h).for_each(|((y, x), h)| *y = x + h);
        });
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _x: &Tensor,
        _h: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(gradient.clone()), Some(gradient.clone())))
    }
}
