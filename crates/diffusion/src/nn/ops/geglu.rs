//! The gated GELU of the transformer blocks (Shazeer 2020, GEGLU).

use super::activation::{Activation, normal_cdfs};
use crate::nn::composed::{self, Composed};
use crate::nn::cpu::simd::{normal_cdf, normal_pdf, vectorized};
use crate::nn::cpu::slices;
use crate::nn::dispatch::{accumulation_dtype, has_cpu_kernel};
use crate::nn::gpu::availability::is_available;
use crate::nn::gpu::launch::{Launch, Number};
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Gated GELU: value * GELU(gate), with the exact GELU. `x` is (.., 2 width), the value followed by the gate; the result is
/// (.., width).
///
/// # Errors
/// Fails if the last dimension is odd.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    if !x.dim(D::Minus1)?.is_multiple_of(2) {
        bail!("gated GELU: the last dimension of {:?} is not even", x.dims());
    }
    if !has_cpu_kernel(&x) {
        return composed::apply(Geglu, &[&x]);
    }
    x.apply_op1(Geglu)
}

/// The operation behind [`geglu`].
pub(in crate::nn) struct Geglu;

impl Geglu {
    fn on_gpu(kernel: &'static str, operands: &[&Tensor], dims: &[usize]) -> Result<Tensor> {
        let width = operands[0].dim(D::Minus1)? / 2;
        let rows = operands[0].elem_count() / (2 * width);
        let [y] = Launch::per_row(kernel, rows, width, operands)
            .run([(operands[0].dtype(), dims)], &[Number::Whole(width)])?;
        Ok(y)
    }
}

impl Composed for Geglu {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        if is_available(&[&operands[0]]) {
            let mut dims = operands[0].dims().to_vec();
            dims.last_mut().into_iter().for_each(|last| *last /= 2);
            return Self::on_gpu("geglu", &[&operands[0]], &dims);
        }
        let halves = operands[0].chunk(2, D::Minus1)?;
        &halves[0] * halves[1].gelu_erf()?
    }

    fn backward(
        &self,
        operands: &[Tensor],
        _y: &Tensor,
        gradient: &Tensor,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        if is_available(&[&operands[0], gradient]) {
            let operands = [&operands[0], gradient];
            return Ok(vec![Some(Self::on_gpu("geglu_back", &operands, operands[0].dims())?)]);
        }
        let (dtype, wide) = (gradient.dtype(), accumulation_dtype(gradient.dtype()));
        let halves = operands[0].to_dtype(wide)?.chunk(2, D::Minus1)?;
        let (value, gate, g) = (&halves[0], &halves[1].contiguous()?, &gradient.to_dtype(wide)?);
        let to_value = (g * (gate * normal_cdfs(gate)?)?)?.to_dtype(dtype)?;
        let to_gate = ((g * value)? * Activation::Gelu.derivatives(gate)?)?.to_dtype(dtype)?;
        Ok(vec![Some(Tensor::cat(&[to_value, to_gate], D::Minus1)?)])
    }
}

/// Rows per parallel task.
const ROWS: usize = 16;

impl CustomOp1 for Geglu {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slices::of_storage(x, layout)?;
        let mut dims = layout.dims().to_vec();
        let Some(last) = dims.last_mut() else { bail!("gated GELU: the input is a scalar") };
        let double = *last;
        *last /= 2;
        let width = *last;
        let mut y = vec![0.0; x.len() / 2];
        y.par_chunks_mut(width * ROWS).zip(x.par_chunks(double * ROWS)).for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || {
                    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(double)) {
                        let (value, gate) = x.split_at(width);
                        for ((y, &value), &gate) in y.iter_mut().zip(value).zip(gate) {
                            *y = value * gate * normal_cdf(gate);
                        }
                    }
                },
            );
        });
        Ok((CpuStorage::F32(y), dims.into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let width = gradient.dim(D::Minus1)?;
        let double = 2 * width;
        let mut dx = vec![0.0; x.elem_count()];
        slices::with_all([x, &gradient], |[x, g]| {
            dx.par_chunks_mut(double * ROWS)
                .zip(x.par_chunks(double * ROWS))
                .zip(g.par_chunks(width * ROWS))
                .for_each(|((dx, x), g)| {
                    vectorized(
                        #[inline(always)]
                        || {
                            let rows = x.chunks_exact(double).zip(g.chunks_exact(width));
                            for (dx, (x, g)) in dx.chunks_exact_mut(double).zip(rows) {
                                let (value, gate) = x.split_at(width);
                                let (to_value, to_gate) = dx.split_at_mut(width);
                                for j in 0..width {
                                    let cdf = normal_cdf(gate[j]);
                                    to_value[j] = g[j] * gate[j] * cdf;
                                    to_gate[j] = g[j] * value[j] * gate[j].mul_add(normal_pdf(gate[j]), cdf);
                                }
                            }
                        },
                    );
                });
        })?;
        Ok(Some(slices::tensor(dx, x.shape())?))
    }
}
