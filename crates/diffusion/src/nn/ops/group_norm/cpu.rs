//! Group normalisation in `f32` on the CPU.

use super::shape::GroupNormShape;
use crate::nn::cpu::simd::{moments, sigmoid, sum, vectorized};
use crate::nn::cpu::slices;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

impl CustomOp3 for GroupNormShape {
    fn name(&self) -> &'static str {
        "group-norm"
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
        let dims = x_layout.dims();
        let pixels: usize = dims[2..].iter().product();
        let per_group = dims[1] / self.groups;
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(per_group * pixels).zip(x.par_chunks(per_group * pixels)).enumerate().for_each(
            |(i, (y, x))| {
                vectorized(
                    #[inline(always)]
                    || {
                        let (mean, inverse) = moments(x, self.epsilon as f32);
                        let first = i % self.groups * per_group;
                        for (c, (y, x)) in y.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels)).enumerate()
                        {
                            let scale = weight[first + c] * inverse;
                            let shift = bias[first + c] - mean * scale;
                            if self.silu {
                                for (y, &x) in y.iter_mut().zip(x) {
                                    let z = x.mul_add(scale, shift);
                                    *y = z * sigmoid(z);
                                }
                            } else {
                                for (y, &x) in y.iter_mut().zip(x) {
                                    *y = x.mul_add(scale, shift);
                                }
                            }
                        }
                    },
                );
            },
        );
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
        let channels = x.dim(1)?;
        let pixels: usize = x.dims()[2..].iter().product();
        let per_group = channels / self.groups;
        let planes = x.dim(0)? * channels;
        let mut dx = vec![0.0; x.elem_count()];
        // Per plane (a channel of an image): the sums of h and of h times x-hat, with h and x-hat as in `backward_group`.
        let (mut plain, mut times_x) = (vec![0.0; planes], vec![0.0; planes]);
        slices::with_all([x, weight, bias, &gradient], |[xs, weight, bias, gs]| {
            dx.par_chunks_mut(per_group * pixels)
                .zip(plain.par_chunks_mut(per_group))
                .zip(times_x.par_chunks_mut(per_group))
                .enumerate()
                .for_each(|(i, ((dx, plain), times_x))| {
                    let start = i * per_group * pixels;
                    let (x, g) = (&xs[start..][..dx.len()], &gs[start..][..dx.len()]);
                    let first = i % self.groups * per_group;
                    let weight = &weight[first..][..per_group];
                    let bias = &bias[first..][..per_group];
                    vectorized(
                        #[inline(always)]
                        || self.backward_group(x, g, weight, bias, pixels, dx, plain, times_x),
                    );
                });
        })?;
        let over_batch = |planes: &[f32]| {
            let mut total = vec![0f32; channels];
            for image in planes.chunks_exact(channels) {
                total.iter_mut().zip(image).for_each(|(t, &p)| *t += p);
            }
            total
        };
        Ok((
            Some(slices::tensor(dx, x.shape())?),
            Some(slices::tensor(over_batch(&times_x), weight.shape())?),
            Some(slices::tensor(over_batch(&plain), bias.shape())?),
        ))
    }
}

impl GroupNormShape {
    /// The backward pass of one group of one image. With x-hat the normalised input, w the weight and h the gradient of the
    /// affine output: dx = (w h - mean(w h) - x-hat mean(w h x-hat)) / deviation.
    #[inline(always)]
    #[expect(
        clippy::too_many_arguments,
        reason = "three inputs, two parameters, three outputs of one formula"
    )]
    fn backward_group(
        &self,
        x: &[f32],
        g: &[f32],
        weight: &[f32],
        bias: &[f32],
        pixels: usize,
        dx: &mut [f32],
        plain: &mut [f32],
        times_x: &mut [f32],
    ) {
        let (mean, inverse) = moments(x, self.epsilon as f32);
        let (mut sum_h, mut sum_hx) = (0f32, 0f32);
        for c in 0..weight.len() {
            let plane = c * pixels..(c + 1) * pixels;
            let (x, g, h) = (&x[plane.clone()], &g[plane.clone()], &mut dx[plane]);
            if self.silu {
                let (scale, shift) = (weight[c] * inverse, bias[c] - mean * inverse * weight[c]);
                for ((h, &x), &g) in h.iter_mut().zip(x).zip(g) {
                    let z = x.mul_add(scale, shift);
                    let s = sigmoid(z);
                    *h = g * s * z.mul_add(1.0 - s, 1.0);
                }
            } else {
                h.copy_from_slice(g);
            }
            plain[c] = sum(pixels, |i| h[i]);
            times_x[c] = sum(pixels, |i| h[i] * (x[i] - mean)) * inverse;
            sum_h += plain[c] * weight[c];
            sum_hx += times_x[c] * weight[c];
        }
        let n = x.len() as f32;
        let (shift, slope) = (inverse * sum_h / n, inverse * inverse * sum_hx / n);
        for (c, (dx, x)) in dx.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels)).enumerate() {
            let scale = weight[c] * inverse;
            for (d, &x) in dx.iter_mut().zip(x) {
                *d = d.mul_add(scale, -shift) - (x - mean) * slope;
            }
        }
    }
}
