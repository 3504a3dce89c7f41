//! Layer normalisation over the last dimension (Ba et al. 2016).

use super::normalise::{normalise, normalise_backward};
use super::sums::sum_over_rows;
use crate::nn::composed::{self, Composed};
use crate::nn::cpu::simd::{moments, sum, vectorized};
use crate::nn::cpu::slices;
use crate::nn::dispatch::{accumulation_dtype, has_cpu_kernel};
use crate::nn::gpu::availability::is_available;
use crate::nn::gpu::launch::{Launch, Number};
use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// `x`: (.., width); `weight`, `bias`: (width).
///
/// # Errors
/// Fails if `weight` or `bias` has another shape.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let x = x.contiguous()?;
    let width = x.dim(D::Minus1)?;
    if weight.dims() != [width] || bias.dims() != [width] {
        bail!(
            "layer norm: shapes do not fit: width {width}, weight {:?}, bias {:?}",
            weight.dims(),
            bias.dims()
        );
    }
    if !has_cpu_kernel(&x) {
        return composed::apply(LayerNorm { epsilon }, &[&x, weight, bias]);
    }
    x.apply_op3(weight, bias, LayerNorm { epsilon })
}

/// The operation behind [`layer_norm`].
pub(in crate::nn) struct LayerNorm {
    /// Added to the variance.
    pub(in crate::nn) epsilon: f64,
}

/// The largest number of blocks of the backward GPU kernel. Each writes its share of the sums over rows.
const MAX_BLOCKS: usize = 1024;
/// Rows per parallel task. Fixed, so that sums over rows do not depend on the number of threads.
const ROWS: usize = 64;

impl Composed for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        if let [x, weight, bias] = operands
            && is_available(&[x, weight, bias])
        {
            let width = weight.elem_count();
            let rows = x.elem_count() / width;
            let [y] = Launch::warp_per_row("layer_norm", rows, &[x, weight, bias]).run(
                [(x.dtype(), x.dims())],
                &[Number::Whole(rows), Number::Whole(width), Number::Real(self.epsilon)],
            )?;
            return Ok(y);
        }
        let wide = accumulation_dtype(operands[0].dtype());
        let (value, _) = normalise(&operands[0].to_dtype(wide)?, self.epsilon)?;
        value
            .broadcast_mul(&operands[1].to_dtype(wide)?)?
            .broadcast_add(&operands[2].to_dtype(wide)?)?
            .to_dtype(operands[0].dtype())
    }

    fn backward(
        &self,
        operands: &[Tensor],
        _y: &Tensor,
        gradient: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let [x, weight, bias] = operands else { bail!("layer norm: {} operands", operands.len()) };
        // A block keeps its sums in its shared memory, which has 48 KiB.
        let shared = 2 * size_of::<f32>() * weight.elem_count();
        if is_available(&[x, weight, gradient]) && shared <= 48 << 10 {
            return self.backward_on_gpu(x, weight, gradient, wanted, shared);
        }
        let wide = accumulation_dtype(x.dtype());
        let (value, inverse) = normalise(&x.to_dtype(wide)?, self.epsilon)?;
        let g = gradient.to_dtype(wide)?;
        let to_x = || {
            normalise_backward(&g.broadcast_mul(&weight.to_dtype(wide)?)?, &value, &inverse)?
                .to_dtype(x.dtype())
        };
        let over_rows = |t: &Tensor| sum_over_rows(&t.flatten_to(D::Minus2)?);
        Ok(vec![
            wanted[0].then(to_x).transpose()?,
            wanted[1].then(|| over_rows(&(&g * &value)?)?.to_dtype(weight.dtype())).transpose()?,
            wanted[2].then(|| over_rows(&g)?.to_dtype(bias.dtype())).transpose()?,
        ])
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = slices::of_storage(x, x_layout)?;
        let (weight, bias) =
            (slices::of_storage(weight, weight_layout)?, slices::of_storage(bias, bias_layout)?);
        let width = weight.len();
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(width * ROWS).zip(x.par_chunks(width * ROWS)).for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || {
                    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                        let (mean, inverse) = moments(x, self.epsilon as f32);
                        for j in 0..width {
                            y[j] = ((x[j] - mean) * inverse).mul_add(weight[j], bias[j]);
                        }
                    }
                },
            );
        });
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let width = weight.elem_count();
        let mut dx = vec![0.0; x.elem_count()];
        let parts: Vec<(Vec<f32>, Vec<f32>)> =
            slices::with_all([x, weight, &gradient], |[xs, weight, gs]| {
                dx.par_chunks_mut(width * ROWS)
                    .zip(xs.par_chunks(width * ROWS))
                    .zip(gs.par_chunks(width * ROWS))
                    .map(|((dx, x), g)| {
                        vectorized(
                            #[inline(always)]
                            || self.backward_rows(x, g, weight, dx),
                        )
                    })
                    .collect()
            })?;
        let (mut dw, mut db) = (vec![0f32; width], vec![0f32; width]);
        for (to_weight, to_bias) in parts {
            dw.iter_mut().zip(to_weight).for_each(|(d, v)| *d += v);
            db.iter_mut().zip(to_bias).for_each(|(d, v)| *d += v);
        }
        Ok((
            Some(slices::tensor(dx, x.shape())?),
            Some(slices::tensor(dw, weight.shape())?),
            Some(slices::tensor(db, bias.shape())?),
        ))
    }
}

impl LayerNorm {
    fn backward_on_gpu(
        &self,
        x: &Tensor,
        weight: &Tensor,
        gradient: &Tensor,
        wanted: &[bool],
        shared: usize,
    ) -> Result<Vec<Option<Tensor>>> {
        let width = weight.elem_count();
        let rows = x.elem_count() / width;
        let at_once = rows.div_ceil(MAX_BLOCKS);
        let blocks = rows.div_ceil(at_once);
        let shares = (DType::F32, [blocks, width]);
        let [to_x, to_weight, to_bias] =
            Launch::per_row("layer_norm_back", blocks, width, &[x, weight, gradient])
                .with_shared_memory(shared)
                .run(
                    [(x.dtype(), x.dims()), (shares.0, &shares.1), (shares.0, &shares.1)],
                    &[
                        Number::Whole(rows),
                        Number::Whole(width),
                        Number::Whole(at_once),
                        Number::Real(self.epsilon),
                    ],
                )?;
        let sum = |shares: &Tensor| sum_over_rows(shares)?.to_dtype(weight.dtype());
        Ok(vec![
            Some(to_x),
            wanted[1].then(|| sum(&to_weight)).transpose()?,
            wanted[2].then(|| sum(&to_bias)).transpose()?,
        ])
    }

    /// The backward pass of some rows: writes `dx`, returns their share of the gradients of weight and bias.
    #[inline(always)]
    fn backward_rows(&self, x: &[f32], g: &[f32], weight: &[f32], dx: &mut [f32]) -> (Vec<f32>, Vec<f32>) {
        let width = weight.len();
        let (mut dw, mut db) = (vec![0f32; width], vec![0f32; width]);
        for ((dx, x), g) in dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(g.chunks_exact(width)) {
            let (mean, inverse) = moments(x, self.epsilon as f32);
            let n = width as f32;
            let plain = sum(width, |j| g[j] * weight[j]) / n;
            let times_x = sum(width, |j| g[j] * weight[j] * (x[j] - mean)) * inverse / n;
            for j in 0..width {
                let normal = (x[j] - mean) * inverse;
                dx[j] = inverse * (g[j].mul_add(weight[j], -plain) - normal * times_x);
                dw[j] = g[j].mul_add(normal, dw[j]);
                db[j] += g[j];
            }
        }
        (dw, db)
    }
}
