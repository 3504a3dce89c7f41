//! Pointwise activations.

use crate::nn::composed::{self, Composed};
use crate::nn::cpu::simd::{normal_cdf, normal_pdf, sigmoid, vectorized};
use crate::nn::cpu::slices;
use crate::nn::dispatch::{accumulation_dtype, has_cpu_kernel};
use crate::nn::gpu::availability::is_available;
use crate::nn::gpu::launch::{Launch, Number};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// A pointwise activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x sigmoid(x); `swish` in some configs.
    #[serde(alias = "swish")]
    Silu,
    /// x Phi(x) with the exact normal distribution (erf), as every config means by `gelu`.
    Gelu,
    /// x sigmoid(1.702 x), used by OpenAI's CLIP.
    QuickGelu,
}

impl Activation {
    /// Applies the activation to every value.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        if has_cpu_kernel(x) {
            return x.contiguous()?.apply_op1(self);
        }
        composed::apply(self, &[x])
    }

    fn on_gpu(self, kernel: &'static str, operands: &[&Tensor]) -> Result<Tensor> {
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

    /// The derivative at every value of `x`, composed of candle operations.
    pub(super) fn derivatives(self, x: &Tensor) -> Result<Tensor> {
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
    fn derivative(self, x: f32) -> f32 {
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

/// The standard normal distribution function at every value.
pub(super) fn normal_cdfs(x: &Tensor) -> Result<Tensor> {
    ((x * FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5
}

/// The standard normal density at every value.
fn normal_pdfs(x: &Tensor) -> Result<Tensor> {
    (x.sqr()? * -0.5)?.exp()? * (FRAC_2_SQRT_PI * FRAC_1_SQRT_2 / 2.0)
}

impl Composed for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        let x = &operands[0];
        if is_available(&[x]) {
            return self.on_gpu("activation", &[x]);
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
        if is_available(&[&operands[0], gradient]) {
            return Ok(vec![Some(self.on_gpu("activation_back", &[&operands[0], gradient])?)]);
        }
        let wide = accumulation_dtype(gradient.dtype());
        let dx = (gradient.to_dtype(wide)? * self.derivatives(&operands[0].to_dtype(wide)?)?)?;
        Ok(vec![Some(dx.to_dtype(gradient.dtype())?)])
    }
}

/// Values per parallel task.
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
                                *d = g * self.derivative(x);
                            }
                        },
                    );
                },
            );
        })?;
        Ok(Some(slices::tensor(dx, x.shape())?))
    }
}
