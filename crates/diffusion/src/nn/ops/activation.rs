//! Pointwise activations and the gated GELU of the transformer blocks.

use super::composed::{self, Composed};
use super::kernels::{self, Launch, Number};
use super::simd::{normal_cdf, normal_pdf, sigmoid, vectorized};
use super::{has_own_kernel, slices, wide};
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// A pointwise activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x sigmoid(x); `swish` in some configs.
    #[serde(alias = "swish")]
    Silu,
    /// x Phi(x), exactly (erf): what every config means by `gelu`.
    Gelu,
    /// x sigmoid(1.702 x): OpenAI's CLIP.
    QuickGelu,
}

impl Activation {
    /// Applies it to every value.
    ///
    /// # Errors
    /// candle's.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        if has_own_kernel(x) {
            return x.contiguous()?.apply_op1(self);
        }
        composed::apply(self, &[x])
    }

    fn by_kernel(self, kernel: &'static str, operands: &[&Tensor]) -> Result<Tensor> {
        let x = operands[0];
        let which = match self {
            Self::Silu => 0,
            Self::Gelu => 1,
            Self::QuickGelu => 2,
        };
        let numbers = [Number::Whole(x.elem_count()), Number::Whole(which)];
        let [y] =
            Launch::per_value(kernel, x.elem_count(), operands).run([(x.dtype(), x.dims())], &numbers)?;
        Ok(y)
    }

    /// The derivative at every value.
    pub(in crate::nn) fn slopes(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Silu => {
                let s = candle_nn::ops::sigmoid(x)?;
                &s + (x * (&s - s.sqr()?)?)?
            }
            Self::Gelu => normal_cdfs(x)? + (x * normal_pdfs(x)?)?,
            Self::QuickGelu => {
                let s = candle_nn::ops::sigmoid(&(x * 1.702)?)?;
                &s + ((x * 1.702)? * (&s - s.sqr()?)?)?
            }
        }
    }

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        match self {
            Self::Silu => x * sigmoid(x),
            Self::Gelu => x * normal_cdf(x),
            Self::QuickGelu => x * sigmoid(1.702 * x),
        }
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        match self {
            Self::Silu => {
                let s = sigmoid(x);
                s * x.mul_add(1.0 - s, 1.0)
            }
            Self::Gelu => x.mul_add(normal_pdf(x), normal_cdf(x)),
            Self::QuickGelu => {
                let s = sigmoid(1.702 * x);
                s * (1.702 * x).mul_add(1.0 - s, 1.0)
            }
        }
    }
}

/// Phi at every value.
fn normal_cdfs(x: &Tensor) -> Result<Tensor> {
    ((x * FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5
}

/// The normal density at every value.
fn normal_pdfs(x: &Tensor) -> Result<Tensor> {
    (x.sqr()? * -0.5)?.exp()? * (FRAC_2_SQRT_PI * FRAC_1_SQRT_2 / 2.0)
}

impl Composed for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        let x = &operands[0];
        if kernels::serve(&[x]) {
            return self.by_kernel("activation", &[x]);
        }
        match self {
            Self::Silu => x.silu(),
            Self::Gelu => x.gelu_erf(),
            Self::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
        }
    }

    fn backward(
        &self,
        operands: &[Tensor],
        _y: &Tensor,
        gradient: &Tensor,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        if kernels::serve(&[&operands[0], gradient]) {
            return Ok(vec![Some(self.by_kernel("activation_back", &[&operands[0], gradient])?)]);
        }
        let wide = wide(gradient.dtype());
        let dx = (gradient.to_dtype(wide)? * self.slopes(&operands[0].to_dtype(wide)?)?)?;
        Ok(vec![Some(dx.to_dtype(gradient.dtype())?)])
    }
}

/// Values that one task takes.
const CHUNK: usize = 4096;

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slices::of_storage(x, layout)?;
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || {
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = self.value(x);
                    }
                },
            );
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let mut dx = vec![0.0; x.elem_count()];
        slices::with_all([x, &gradient], |[x, g]| {
            dx.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).zip(g.par_chunks(CHUNK)).for_each(
                |((dx, x), g)| {
                    vectorized(
                        #[inline(always)]
                        || {
                            for ((d, &x), &g) in dx.iter_mut().zip(x).zip(g) {
                                *d = g * self.slope(x);
                            }
                        },
                    );
                },
            );
        })?;
        Ok(Some(slices::tensor(dx, x.shape())?))
    }
}

/// `x`: (.., 2 width), value and gate side by side. Returns value * GELU(gate), (.., width), with the exact GELU.
///
/// # Errors
/// An odd last dimension.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    if !x.dim(D::Minus1)?.is_multiple_of(2) {
        bail!("gated GELU: odd width {:?}", x.dims());
    }
    if !has_own_kernel(&x) {
        return composed::apply(Geglu, &[&x]);
    }
    x.apply_op1(Geglu)
}

pub(in crate::nn) struct Geglu;

impl Geglu {
    fn by_kernel(kernel: &'static str, operands: &[&Tensor], dims: &[usize]) -> Result<Tensor> {
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
        if kernels::serve(&[&operands[0]]) {
            let mut dims = operands[0].dims().to_vec();
            dims.last_mut().into_iter().for_each(|last| *last /= 2);
            return Self::by_kernel("geglu", &[&operands[0]], &dims);
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
        if kernels::serve(&[&operands[0], gradient]) {
            let operands = [&operands[0], gradient];
            return Ok(vec![Some(Self::by_kernel("geglu_back", &operands, operands[0].dims())?)]);
        }
        let (dtype, wide) = (gradient.dtype(), wide(gradient.dtype()));
        let halves = operands[0].to_dtype(wide)?.chunk(2, D::Minus1)?;
        let (value, gate, g) = (&halves[0], &halves[1].contiguous()?, &gradient.to_dtype(wide)?);
        let to_value = (g * (gate * normal_cdfs(gate)?)?)?.to_dtype(dtype)?;
        let to_gate = ((g * value)? * Activation::Gelu.slopes(gate)?)?.to_dtype(dtype)?;
        Ok(vec![Some(Tensor::cat(&[to_value, to_gate], D::Minus1)?)])
    }
}

/// Rows that one task takes.
const ROWS: usize = 16;

impl CustomOp1 for Geglu {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slices::of_storage(x, layout)?;
        let mut dims = layout.dims().to_vec();
        let Some(last) = dims.last_mut() else { bail!("gated GELU of a scalar") };
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
